/* SPDX-License-Identifier: MIT */
/* Finds the value of tokenizer.ggml.pre for a byte-level vocabulary. tokenizer.json holds patterns, GGUF a name. llama.cpp's converter
 * encodes a fixed text with the model's own tokenizer and looks the hash of the ids up. We have our own pre-tokenizers to do it with:
 *   - where one has exactly the patterns of tokenizer.json, its ids are the model's. Of the names that stand for these patterns the hash says
 *     which; for a vocabulary that no table knows (a model of one's own) it is the first;
 *   - where none has, each is tried in turn: the one under whose name the hash of its own ids stands is the model's.
 * Otherwise there is none: never a guess. */
#include "convert/vocabulary.h"
#include "text/text.h"

#include <stdio.h>

/* ---- the text and its hashes ------------------------------------------------------------------------------------------ */

static const char check_text[] =
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n\U0001F680 (normal) \U0001F636\u200D\U0001F32B\uFE0F (multiple emojis concatenated) \u2705 "
    "\U0001F999\U0001F999 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 "
    "\u1780\u17B6\u1793\u17CB\u178F\u17C2\u1796\u17B7\u179F\u17C1\u179F\u17A2\u17B6\u1785\U0001F601 ?\u6211\u60F3\u5728apple\u5DE5\u4F5C1314151"
    "\u5929\uFF5E ------======= \u043D\u0435\u0449\u043E \u043D\u0430 \u0411\u044A\u043B\u0433\u0430\u0440\u0441\u043A\u0438 "
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? We'Ve "
    "a'lL";

static const struct {
    const char *pre, *hash;
} hashes[] = {
#define KQ_PRE_HASH(name, hash) {name, hash},
#include "convert/pre_tokenizers.def"
};

enum { MAX_IDS = 2048, BEHAVIOUR = KQ_PRE_IGNORE_MERGES | KQ_PRE_RAW | KQ_PRE_ESCAPE | KQ_PRE_NEWLINES };

/* Two names stand for the same pieces and the same merging. */
static bool alike(const kq_pretokenizer *a, const kq_pretokenizer *b) {
    return strcmp(a->chain, b->chain) == 0 && ((a->flags ^ b->flags) & BEHAVIOUR) == 0;
}

/* The last row with this hash whose name is alike to `row`, or NULL. */
static const char *look_up(const char hex[65], const kq_pretokenizer *row) {
    const char *found = NULL;
    for (size_t i = 0; i < KQ_COUNT(hashes); i++) {
        const kq_pretokenizer *named = kq_pretokenizer_find(hashes[i].pre);
        if (memcmp(hashes[i].hash, hex, strlen(hashes[i].hash)) == 0 && named && alike(named, row)) found = hashes[i].pre;
    }
    return found;
}

/* What is added in front of a text and behind it. */
typedef struct frame {
    int32_t ids[2][16];
    size_t n[2];
} frame;

static void frame_put(frame *f, int side, const json_t *id) {
    if (json_is_integer(id) && f->n[side] < KQ_COUNT(f->ids[side])) f->ids[side][f->n[side]++] = (int32_t)json_integer_value(id);
}

/* As transformers encodes: every special token of the template `single`. */
static bool frame_step(void *ctx, const char *type, const json_t *step) {
    frame *f = ctx;
    int side = 0;
    const json_t *item, *id, *specials = json_object_get(step, "special_tokens");
    size_t at, k;
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        frame_put(f, 0, json_array_get(json_object_get(step, "cls"), 1));
        frame_put(f, 1, json_array_get(json_object_get(step, "sep"), 1));
    }
    if (strcmp(type, "TemplateProcessing") != 0) return true;
    json_array_foreach(json_object_get(step, "single"), at, item) {
        const char *name = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (json_object_get(item, "Sequence")) side = 1;
        if (!name) continue;
        json_array_foreach(json_object_get(json_object_get(specials, name), "ids"), k, id) frame_put(f, side, id);
    }
    return true;
}

/* As the metadata says: for classes of transformers that add BOS and EOS by add_bos_token and add_eos_token, whatever the template is. */
static kq_status frame_flags(frame *f, const kq_gguf *g, kq_error *err) {
    static const char *const keys[2][2] = {{"tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id"},
                                           {"tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id"}};
    for (int side = 0; side < 2; side++) {
        bool add = false;
        uint64_t id = 0;
        KQ_TRY(kq_gguf_get_bool_or(g, keys[side][0], false, &add, err));
        KQ_TRY(kq_gguf_get_u64_or(g, keys[side][1], UINT32_MAX, 0, INT32_MAX, &id, err));
        if (add && id <= INT32_MAX) f->ids[side][f->n[side]++] = (int32_t)id;
    }
    return KQ_OK;
}

static void hash_ids(const frame *f, const int32_t *ids, size_t n, char hex[65]) {
    kq_sha256 s;
    uint8_t hash[32];
    const char *before = "[";
    const struct {
        const int32_t *ids;
        size_t n;
    } parts[3] = {{f->ids[0], f->n[0]}, {ids, n}, {f->ids[1], f->n[1]}};
    kq_sha256_init(&s);
    for (size_t p = 0; p < 3; p++) {
        for (size_t i = 0; i < parts[p].n; i++) {
            char text[24];
            kq_sha256_add(&s, text, (size_t)snprintf(text, sizeof text, "%s%d", before, (int)parts[p].ids[i]));
            before = ", ";
        }
    }
    kq_sha256_add(&s, "]", 1);
    kq_sha256_finish(&s, hash);
    kq_hex(hash, sizeof hash, hex);
}

static kq_status try_row(const char **pre, kq_tokenizer *t, const frame frames[2], const kq_pretokenizer *row, kq_error *err) {
    int32_t ids[MAX_IDS];
    char hex[65];
    size_t n = 0;
    KQ_TRY(kq_tokenizer_set_pre(t, row, err));
    KQ_TRY(kq_tokenizer_encode(t, check_text, sizeof check_text - 1, KQ_ENCODE_SPECIAL, ids, MAX_IDS, &n, err));
    for (size_t f = 0; f < 2 && !*pre && n <= MAX_IDS; f++) {
        hash_ids(&frames[f], ids, n, hex);
        *pre = look_up(hex, row);
    }
    return KQ_OK;
}

/* Tries every way to cut and to merge. */
static kq_status try_all(const char **pre, kq_tokenizer *t, const frame frames[2], kq_error *err) {
    const kq_pretokenizer *row, *earlier;
    for (size_t i = 0; !*pre && (row = kq_pretokenizer_at(i)); i++) {
        size_t k = 0;
        while ((earlier = kq_pretokenizer_at(k)) != row && !alike(earlier, row)) k++;
        if (k == i && !(row->flags & KQ_PRE_RAW)) KQ_TRY(try_row(pre, t, frames, row, err));
    }
    return KQ_OK;
}

/* ---- patterns --------------------------------------------------------------------------------------------------------- */

static const struct form {
    const char *chain;
    const char *stages[KQ_CHAIN_STAGES];
    bool alias;
} forms[] = {
#define KQ_PRE_FORM(chain, ...) {#chain, {__VA_ARGS__}, false},
#define KQ_PRE_ALIAS(chain, ...) {#chain, {__VA_ARGS__}, true},
#include "convert/pre_tokenizers.def"
};

/* One way to write a pattern: contractions as tokenizer.json has them, code points beyond ASCII as themselves. False: too long. */
bool kq_pre_canonical(const char *pattern, char out[KQ_PRE_PATTERN_BYTES]) {
    static const char ours[] = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", theirs[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    size_t n = 0;
    for (const char *p = pattern; *p;) {
        unsigned cp = 0;
        int taken = 0;
        if (n + sizeof theirs > KQ_PRE_PATTERN_BYTES) return false;
        if (strncmp(p, ours, sizeof ours - 1) == 0) {
            memcpy(out + n, theirs, sizeof theirs - 1);
            n += sizeof theirs - 1;
            p += sizeof ours - 1;
        } else if (sscanf(p, "\\x{%6X}%n", &cp, &taken) == 1 && taken && cp >= 0x80 && cp <= 0x10ffff) {
            n += kq_utf8_encode(cp, (uint8_t *)out + n);
            p += taken;
        } else {
            if (*p == '\\' && p[1]) out[n++] = *p++;
            out[n++] = *p++;
        }
    }
    out[n] = 0;
    return true;
}

static bool same_pattern(const char *a, const char *b) {
    char one[KQ_PRE_PATTERN_BYTES], two[KQ_PRE_PATTERN_BYTES];
    return kq_pre_canonical(a, one) && kq_pre_canonical(b, two) && strcmp(one, two) == 0;
}

/* The steps of a pre-tokenizer as stages. */
typedef struct stages {
    const char *patterns[KQ_CHAIN_STAGES];
    size_t n;
    bool bytes; /* ends in the byte alphabet */
} stages;

static bool add_stage(stages *s, const char *pattern) {
    if (!pattern || s->n == KQ_CHAIN_STAGES) return false;
    s->patterns[s->n++] = pattern;
    return true;
}

static bool is_text(const json_t *object, const char *key, const char *text) {
    const char *have = json_string_value(json_object_get(object, key));
    return have && strcmp(have, text) == 0;
}

static bool read_stage(void *ctx, const char *type, const json_t *step) {
    static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    stages *s = ctx;
    if (strcmp(type, "ByteLevel") == 0) {
        const json_t *regex = json_object_get(step, "use_regex");
        s->bytes = true;
        if (json_is_true(json_object_get(step, "add_prefix_space"))) return false;
        return json_is_false(regex) || add_stage(s, gpt2); /* true when it says nothing */
    }
    if (strcmp(type, "Digits") == 0) return add_stage(s, json_is_true(json_object_get(step, "individual_digits")) ? "\\p{N}" : "\\p{N}+");
    if (strcmp(type, "Punctuation") == 0) return is_text(step, "behavior", "Contiguous") && add_stage(s, "@punctuation");
    if (strcmp(type, "Split") != 0) return false;
    bool invert = json_is_true(json_object_get(step, "invert"));
    /* removing what does not match a pattern that matches everything is the same as keeping the matches apart */
    if (!(is_text(step, "behavior", "Isolated") && !invert) && !(is_text(step, "behavior", "Removed") && invert)) return false;
    return add_stage(s, json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex")));
}

static bool same_stages(const stages *s, const char *const *other) {
    for (size_t i = 0; i < KQ_CHAIN_STAGES; i++) {
        if (i >= s->n || !other[i]) return i >= s->n && !other[i];
        if (!same_pattern(s->patterns[i], other[i])) return false;
    }
    return true;
}

static bool has_form(const kq_pretokenizer *row, const stages *s) {
    for (size_t i = 0; i < KQ_COUNT(forms); i++) {
        if (strcmp(forms[i].chain, row->chain) == 0 && same_stages(s, forms[i].stages)) return true;
    }
    return same_stages(s, row->stages);
}

const char *const *kq_pre_stages(const kq_pretokenizer *row) {
    for (size_t i = 0; i < KQ_COUNT(forms); i++) {
        if (strcmp(forms[i].chain, row->chain) == 0 && !forms[i].alias) return forms[i].stages;
    }
    return row->stages;
}

static bool harmless_normalizer(void *ctx, const char *type, const json_t *step) {
    (void)ctx;
    (void)step;
    return strcmp(type, "NFC") == 0; /* what llama.cpp leaves out for Qwen, too */
}

static bool is_written(const char *name) {
    for (size_t i = 0; i < KQ_COUNT(hashes); i++) {
        if (strcmp(hashes[i].pre, name) == 0) return true;
    }
    return false;
}

/* The first name with these patterns: one that the converter writes before others, and of those one whose rule for spaces is the
 * configuration's. */
static const kq_pretokenizer *find_by_patterns(const kq_tokenizer_json *j, const kq_hf_config *c) {
    stages s = {0};
    const json_t *clean = json_object_get(c->tokenizer, "clean_up_tokenization_spaces");
    const kq_pretokenizer *best = NULL, *row;
    int best_fit = 0;
    if (!j->pre_tokenizer || !kq_json_steps(j->pre_tokenizer, read_stage, &s) || !s.bytes) return NULL;
    if (j->normalizer && !kq_json_steps(j->normalizer, harmless_normalizer, NULL)) return NULL;
    for (size_t i = 0; (row = kq_pretokenizer_at(i)); i++) {
        if (row->flags & (KQ_PRE_RAW | KQ_PRE_ADD_SEP) || !(row->flags & KQ_PRE_IGNORE_MERGES) != !j->ignore_merges || !has_form(row, &s)) continue;
        bool spaces = !json_is_boolean(clean) || !(row->flags & KQ_PRE_NO_CLEAN) == json_is_true(clean);
        int fit = 1 + 2 * is_written(row->name) + spaces;
        if (fit > best_fit) best = row;
        best_fit = KQ_MAX(best_fit, fit);
    }
    return best;
}

/* ---- both ------------------------------------------------------------------------------------------------------------- */

kq_status kq_pre_tokenizer_find(kq_metadata *m, const kq_tokenizer_json *j, const kq_hf_config *c, kq_error *err) {
    static const char key[] = "tokenizer.ggml.pre", add_bos[] = "tokenizer.ggml.add_bos_token";
    /* the metadata as a file: what a tokenizer reads of one is its values */
    kq_gguf view = {.allocator = m->allocator, .values = m->values, .n_values = m->n_values, .keys = m->keys};
    kq_tokenizer_options o = KQ_OPTIONS_INIT(kq_tokenizer_options);
    o.allocator = &m->allocator;
    kq_tokenizer *t = NULL;
    frame frames[2] = {0};
    const char *pre = NULL;
    if (j->post_processor) (void)kq_json_steps(j->post_processor, frame_step, &frames[0]);
    KQ_TRY(frame_flags(&frames[1], &view, err));
    KQ_TRY(kq_tokenizer_open(&t, &view, &o, err));
    const kq_pretokenizer *row = find_by_patterns(j, c);
    kq_status status = row ? try_row(&pre, t, frames, row, err) : try_all(&pre, t, frames, err);
    kq_tokenizer_close(t);
    if (status) return status;
    if (pre) return kq_metadata_string(m, key, pre, err);
    if (!row) {
        return kq_fail_at(err, KQ_E_UNSUPPORTED, j->path, KQ_NO_OFFSET,
                          "its pre-tokenizer is unknown: neither its patterns nor its ids of the check text are in our tables");
    }
    if (row->flags & KQ_PRE_ADD_BOS && !kq_metadata_find(m, add_bos)) KQ_TRY(kq_metadata_bool(m, add_bos, false, err));
    return kq_metadata_string(m, key, row->name, err);
}
