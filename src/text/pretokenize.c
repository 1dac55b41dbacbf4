/* SPDX-License-Identifier: MIT */
/* Runs chains of patterns. Each stage searches what the stage before left, as if it were a whole text: matches and the gaps between
 * them are the next stage's texts. Depth first, so that pieces come out in order and nothing is stored.
 *
 * Time is linear in the text. PCRE2 backtracks, but no pattern of ours has a repeat inside a repeat, and every alternative that can
 * run far and then fail is followed by one that takes what was run over (say \s*[\r\n]+ by \s+); the three patterns for which that was
 * not so are written otherwise (pretokenizers.def). Hence no limit on matching is set beyond what a text of the largest size needs. */
#include "text/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum stage_kind { STAGE_END, STAGE_PATTERN, STAGE_DIGITS3, STAGE_THREES };

struct kq_chain {
    kq_allocator allocator;
    kq_alphabet alphabet;
    pcre2_general_context *general;
    struct {
        enum stage_kind kind;
        pcre2_code *code;
    } stages[KQ_CHAIN_STAGES + 1];
};

#define KQ_CHAIN(name, ...) static const char *const chain_##name[KQ_CHAIN_STAGES] = {__VA_ARGS__};
#include "text/pretokenizers.def"

static const kq_pretokenizer rows[] = {
#define KQ_PRE(name, chain, flags) {name, #chain, chain_##chain, flags},
#include "text/pretokenizers.def"
};

const kq_pretokenizer *kq_pretokenizer_at(size_t i) { return i < KQ_COUNT(rows) ? &rows[i] : NULL; }

const kq_pretokenizer *kq_pretokenizer_find(const char *name) {
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    }
    return NULL;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

static void *pcre2_take(size_t size, void *ctx) { return kq_alloc_raw(ctx, size, 1); }
static void pcre2_give(void *memory, void *ctx) { kq_free(ctx, memory); }

static kq_status compile(kq_chain *c, pcre2_compile_context *context, const char *pattern, uint32_t *set, pcre2_code **out, kq_error *err) {
    char bytes[KQ_PATTERN_BYTES];
    size_t size, offset;
    int error;
    if (!kq_pattern_rewrite(&c->alphabet, pattern, set, bytes, &size)) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "this build cannot read its own pattern '%s'", pattern);
    }
    *out = pcre2_compile((PCRE2_SPTR)bytes, size, PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &error, &offset, context);
    if (!*out && error == PCRE2_ERROR_HEAP_FAILED) return kq_fail_memory(err, size, "a pattern");
    if (!*out) return kq_fail(err, KQ_E_UNSUPPORTED, "PCRE2 refuses a pattern (error %d at byte %zu): %s", error, offset, bytes);
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* where it is refused (no executable memory), the interpreter runs */
    return KQ_OK;
}

kq_status kq_chain_open(kq_chain **out, const char *const stages[KQ_CHAIN_STAGES], const kq_allocator *a, kq_error *err) {
    *out = NULL;
    kq_allocator allocator = kq_allocator_of(a);
    kq_chain *c = kq_alloc(&allocator, 1, sizeof *c);
    if (!c) return kq_fail_memory(err, sizeof *c, "a chain of patterns");
    c->allocator = allocator;
    kq_status status = KQ_OK;
    pcre2_compile_context *context = NULL;
    c->general = pcre2_general_context_create(pcre2_take, pcre2_give, &c->allocator);
    if (c->general) context = pcre2_compile_context_create(c->general);
    if (!context) status = kq_fail_memory(err, sizeof *c, "a chain of patterns");
    for (size_t i = 0; !status && i < KQ_CHAIN_STAGES && stages[i]; i++) {
        if (stages[i][0] != '@' && !kq_pattern_collect(&c->alphabet, stages[i])) {
            status = kq_fail(err, KQ_E_UNSUPPORTED, "this build cannot read its own pattern '%s'", stages[i]);
        }
    }
    uint32_t set = 0;
    for (size_t i = 0; !status && i < KQ_CHAIN_STAGES && stages[i]; i++) {
        if (strcmp(stages[i], "@digits3") == 0) {
            c->stages[i].kind = STAGE_DIGITS3;
        } else if (strcmp(stages[i], "@threes") == 0) {
            c->stages[i].kind = STAGE_THREES;
        } else {
            c->stages[i].kind = STAGE_PATTERN;
            status = compile(c, context, stages[i], &set, &c->stages[i].code, err);
        }
    }
    if (context) pcre2_compile_context_free(context);
    if (status) {
        kq_chain_close(c);
        return status;
    }
    *out = c;
    return KQ_OK;
}

void kq_chain_close(kq_chain *c) {
    if (!c) return;
    for (size_t i = 0; i < KQ_CHAIN_STAGES; i++) {
        if (c->stages[i].code) pcre2_code_free(c->stages[i].code);
    }
    if (c->general) pcre2_general_context_free(c->general);
    kq_allocator a = c->allocator;
    kq_free(&a, c);
}

uint8_t kq_chain_class(const kq_chain *c, uint32_t cp) { return kq_alphabet_class(&c->alphabet, cp); }

kq_status kq_splitter_open(kq_splitter *s, const kq_chain *c, kq_error *err) {
    *s = (kq_splitter){.chain = c};
    s->match = pcre2_match_data_create(1, c->general);
    pcre2_match_context *context = pcre2_match_context_create(c->general);
    s->context = context;
    if (!s->match || !context) {
        kq_splitter_close(s);
        return kq_fail_memory(err, sizeof *s, "matching patterns");
    }
    pcre2_set_match_limit(context, UINT32_MAX);
    pcre2_set_depth_limit(context, UINT32_MAX);
    return KQ_OK;
}

void kq_splitter_close(kq_splitter *s) {
    if (s->match) pcre2_match_data_free(s->match);
    if (s->context) pcre2_match_context_free(s->context);
    *s = (kq_splitter){0};
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

typedef struct run {
    kq_splitter *s;
    const uint8_t *classes;
    kq_split_emit emit;
    void *ctx;
    kq_error *err;
} run;

static kq_status stage(run *r, size_t i, size_t at, size_t n);

/* The first match at `from` or after in n classes; *found says whether there is one. */
static kq_status search(run *r, const pcre2_code *code, const uint8_t *text, size_t n, size_t from, bool *found, size_t *begin, size_t *end) {
    int rc = pcre2_match(code, text, n, from, r->s->interpreter ? PCRE2_NO_JIT : 0, r->s->match, r->s->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = pcre2_match(code, text, n, from, PCRE2_NO_JIT, r->s->match, r->s->context);
    *found = rc >= 0;
    if (rc == PCRE2_ERROR_NOMATCH) return KQ_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return kq_fail_memory(r->err, n, "matching patterns");
    if (rc < 0) return kq_fail(r->err, KQ_E_LIMIT, "PCRE2 gives up on a text of %zu characters (error %d)", n, rc);
    const size_t *ends = pcre2_get_ovector_pointer(r->s->match);
    *begin = ends[0];
    *end = ends[1];
    return KQ_OK;
}

static kq_status by_pattern(run *r, size_t i, size_t at, size_t n) {
    const pcre2_code *code = r->s->chain->stages[i].code;
    const uint8_t *text = r->classes + at;
    for (size_t done = 0; done < n;) {
        bool found = false;
        size_t begin = n, end = n;
        KQ_TRY(search(r, code, text, n, done, &found, &begin, &end));
        if (!found) begin = end = n;
        assert(!found || end > begin); /* no pattern of ours matches nothing */
        if (begin > done) KQ_TRY(stage(r, i + 1, at + done, begin - done));
        if (end > begin) KQ_TRY(stage(r, i + 1, at + begin, end - begin));
        done = end;
    }
    return KQ_OK;
}

static bool is_number(uint8_t class) { return (class >= '0' && class <= '9') || (class >= 0x80 && (class & 7) == KQ_CLASS_N); }

/* A run of n numbers is cut into a first group of n mod 3, if that is not 0, and groups of three. The text before a run stays glued
 * to its first group: an oddity of the reference that later stages see. */
static kq_status by_digits3(run *r, size_t i, size_t at, size_t n) {
    const uint8_t *text = r->classes + at;
    size_t begin = 0; /* of what has not been given out */
    for (size_t p = 0; p < n;) {
        if (!is_number(text[p])) {
            p++;
            continue;
        }
        size_t end = p;
        while (end < n && is_number(text[end])) end++;
        size_t group = (end - p) % 3 ? (end - p) % 3 : 3;
        for (; p < end; group = 3) {
            p += group;
            KQ_TRY(stage(r, i + 1, at + begin, p - begin));
            begin = p;
        }
    }
    return begin < n ? stage(r, i + 1, at + begin, n - begin) : KQ_OK;
}

/* Cuts runs of ASCII digits into threes, counted from the right; whatever is before or after a run is not cut from it. */
static kq_status by_threes(run *r, size_t i, size_t at, size_t n) {
    const uint8_t *text = r->classes + at;
    size_t begin = 0;
    for (size_t p = 0; p < n;) {
        size_t end = p;
        while (end < n && text[end] >= '0' && text[end] <= '9') end++;
        for (size_t cut = p + (end - p) % 3; cut < end; cut += 3) {
            if (cut > begin) KQ_TRY(stage(r, i + 1, at + begin, cut - begin));
            begin = cut;
        }
        p = end + 1;
    }
    return begin < n ? stage(r, i + 1, at + begin, n - begin) : KQ_OK;
}

static kq_status stage(run *r, size_t i, size_t at, size_t n) {
    switch (r->s->chain->stages[i].kind) {
    case STAGE_PATTERN: return by_pattern(r, i, at, n);
    case STAGE_DIGITS3: return by_digits3(r, i, at, n);
    case STAGE_THREES: return by_threes(r, i, at, n);
    case STAGE_END: break;
    }
    return r->emit(r->ctx, at, n);
}

kq_status kq_splitter_run(kq_splitter *s, const uint8_t *classes, size_t n, kq_split_emit emit, void *ctx, kq_error *err) {
    run r = {.s = s, .classes = classes, .emit = emit, .ctx = ctx, .err = err};
    return n ? stage(&r, 0, 0, n) : KQ_OK;
}
