/* SPDX-License-Identifier: MIT */
/* Byte-pair encoding: the table of merges, and pieces to ids.
 *
 * A symbol is a text that can stand during merging. Symbols that are tokens have the token's id; texts that only merges know are numbered
 * from the vocabulary's size on, so a merge is a row (left, right) -> (rank, result) of numbers and no text is touched while merging. */
#include "file/file.h"
#include "text/text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- the table of merges ---------------------------------------------------------------------------------------------- */

/* With the seed inside a real hash: 200 000 merges that were made to meet in few slots of a plain multiplication took 21 s to read. */
static uint64_t slot_of(const kq_bpe *b, uint32_t left, uint32_t right) {
    uint32_t pair[2] = {left, right};
    return XXH3_64bits_withSeed(pair, sizeof pair, b->seed) & b->mask;
}

uint32_t kq_bpe_pair(const kq_bpe *b, uint32_t left, uint32_t right, uint32_t *result) {
    for (uint64_t i = slot_of(b, left, right); b->pairs[i].rank != KQ_NO_SYMBOL; i = (i + 1) & b->mask) {
        if (b->pairs[i].left == left && b->pairs[i].right == right) {
            *result = b->pairs[i].result;
            return b->pairs[i].rank;
        }
    }
    return KQ_NO_SYMBOL;
}

/* Keeps the rank that is there: the first of equal merges counts. */
static void add_pair(kq_bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t result) {
    uint64_t i = slot_of(b, left, right);
    for (; b->pairs[i].rank != KQ_NO_SYMBOL; i = (i + 1) & b->mask) {
        if (b->pairs[i].left == left && b->pairs[i].right == right) return;
    }
    b->pairs[i] = (kq_pair){.left = left, .right = right, .rank = rank, .result = result};
}

static uint32_t find_symbol(const kq_tokenizer *t, const char *text, size_t size) {
    int32_t id = kq_vocab_find(&t->vocab, text, size);
    uint32_t symbol = KQ_NO_SYMBOL;
    if (id != KQ_NO_TOKEN) return (uint32_t)id;
    return t->bpe.extra.n && kq_strmap_find(&t->bpe.extra, text, size, &symbol) ? symbol : KQ_NO_SYMBOL;
}

/* The symbol of a text, made if there is none. */
static bool intern(kq_tokenizer *t, const char *text, size_t size, uint32_t *symbol) {
    kq_bpe *b = &t->bpe;
    *symbol = find_symbol(t, text, size);
    if (*symbol != KQ_NO_SYMBOL) return true;
    char *copy = kq_arena_string(&b->arena, text, size);
    bool failed = false;
    *symbol = (uint32_t)b->n_symbols;
    if (!copy || !kq_strmap_add(&b->extra, copy, size, *symbol, NULL, &failed) || failed) return false;
    b->n_symbols++;
    return true;
}

/* "left right": the first space after the first byte parts them; NULL when there is none, or nothing behind it. */
static const char *merge_space(const kq_string *s) {
    const char *space = s->size > 1 ? memchr(s->data + 1, ' ', s->size - 1) : NULL;
    return space && space + 1 < s->data + s->size ? space : NULL;
}

static bool read_merge(kq_tokenizer *t, const kq_string *s, uint32_t rank, char **scratch, size_t *capacity) {
    const char *space = merge_space(s);
    size_t left_size = (size_t)(space - s->data), right_size = s->size - left_size - 1;
    uint32_t left, right, result;
    if (!kq_grow(&t->allocator, scratch, capacity, s->size, 1)) return false;
    memcpy(*scratch, s->data, left_size);
    memcpy(*scratch + left_size, space + 1, right_size);
    if (!intern(t, s->data, left_size, &left) || !intern(t, space + 1, right_size, &right) ||
        !intern(t, *scratch, left_size + right_size, &result)) {
        return false;
    }
    if (kq_merge_is_space((const uint8_t *)space + 1, right_size)) t->joins_space[(uint8_t)space[-1]] = true;
    add_pair(&t->bpe, left, right, rank, result);
    return true;
}

static kq_status read_merges(kq_tokenizer *t, const kq_gguf_value *merges, kq_error *err) {
    char *scratch = NULL;
    size_t capacity = 0;
    bool fine = true;
    kq_gguf_strings it = kq_gguf_strings_of(merges);
    kq_string s;
    kq_status status = KQ_OK;
    for (uint32_t rank = 0; fine && !status && kq_gguf_strings_next(&it, &s); rank++) {
        if (merge_space(&s)) {
            fine = read_merge(t, &s, rank, &scratch, &capacity);
        } else { /* the reference makes a pair of two empty texts of it, which never joins: the file is broken all the same */
            status = kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.merges: merge %u is '%s', must be two texts with a space between", (unsigned)rank, KQ_SHOW(s));
        }
    }
    kq_free(&t->allocator, scratch);
    if (status) return status;
    return fine ? KQ_OK : kq_fail_memory(err, merges->count * sizeof(kq_pair), "merges");
}

/* The symbols that pieces begin as: every byte in the byte alphabet, or every ASCII character where texts are raw. */
static bool read_bytes(kq_tokenizer *t) {
    for (uint32_t b = 0; b < 256; b++) {
        uint8_t text[4];
        t->bpe.byte_symbol[b] = KQ_NO_SYMBOL;
        if (t->flags & KQ_PRE_RAW) {
            char byte = (char)b;
            if (b < 0x80) t->bpe.byte_symbol[b] = find_symbol(t, &byte, 1);
        } else if (!intern(t, (char *)text, kq_utf8_encode(kq_byte_to_cp((uint8_t)b), text), &t->bpe.byte_symbol[b])) {
            return false;
        }
    }
    return true;
}

kq_status kq_bpe_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    static const char key[] = "tokenizer.ggml.merges";
    enum { MAX_MERGES = 1 << 26 };
    kq_bpe *b = &t->bpe;
    const kq_gguf_value *merges = kq_gguf_find(g, key);
    if (!merges && !(t->flags & KQ_PRE_NO_MERGES)) return kq_fail(err, KQ_E_MODEL, "%s is missing", key);
    if (merges && (merges->kind != KQ_GGUF_ARRAY || merges->element != KQ_GGUF_STRING)) {
        return kq_fail(err, KQ_E_MODEL, "%s is no array of strings", key);
    }
    uint64_t n = merges ? merges->count : 0, slots = 16;
    if (n > MAX_MERGES) return kq_fail(err, KQ_E_LIMIT, "%s has %llu merges, the limit is %d", key, (unsigned long long)n, MAX_MERGES);
    while (slots < n + n / 2) slots *= 2;
    b->pairs = kq_alloc_raw(&t->allocator, slots, sizeof *b->pairs);
    if (!b->pairs) return kq_fail_memory(err, slots * sizeof *b->pairs, "merges");
    memset(b->pairs, 0xff, (size_t)slots * sizeof *b->pairs);
    b->mask = slots - 1;
    b->seed = kq_hash_seed(b->pairs);
    b->n_symbols = t->vocab.n;
    kq_arena_init(&b->arena, &t->allocator);
    if (!kq_strmap_init(&b->extra, &t->allocator, 0)) return kq_fail_memory(err, 0, "symbols");
    if (merges) KQ_TRY(read_merges(t, merges, err));
    return read_bytes(t) ? KQ_OK : kq_fail_memory(err, 0, "symbols");
}

void kq_bpe_close(kq_bpe *b, const kq_allocator *a) {
    kq_free(a, b->pairs);
    kq_strmap_free(&b->extra);
    kq_arena_free(&b->arena);
    *b = (kq_bpe){0};
}

/* ---- pieces to ids ------------------------------------------------------------------------------------------------------ */

/* A symbol that is no token falls apart into bytes: of its own text where the alphabet is raw (<0xHH>), of its text in the byte alphabet
 * otherwise. Bytes without a token are lost, as they are in the reference. */
static void put_symbol(kq_encoder *e, const kq_symbol *s) {
    const kq_tokenizer *t = e->t;
    const uint8_t *text = e->fragment + s->start;
    if (s->id < t->vocab.n) {
        kq_encoder_put(e, (int32_t)s->id);
        return;
    }
    for (size_t i = 0; i < s->size; i++) {
        uint8_t mapped[4];
        size_t n = 0;
        if (t->flags & KQ_PRE_RAW) {
            if (t->hex_token[text[i]] != KQ_NO_TOKEN) kq_encoder_put(e, t->hex_token[text[i]]);
        } else {
            n = kq_utf8_encode(kq_byte_to_cp(text[i]), mapped);
        }
        for (size_t k = 0; k < n; k++) {
            if (t->byte_token[mapped[k]] != KQ_NO_TOKEN) kq_encoder_put(e, t->byte_token[mapped[k]]);
        }
    }
}

static uint32_t rank_of(const kq_encoder *e, const kq_symbol *left, const kq_symbol *right, uint32_t *id) {
    return kq_bpe_pair(&e->t->bpe, left->id, right->id, id);
}

/* Symbols of a raw text are its characters, and those of the byte alphabet its bytes. */
static kq_status symbols_of(kq_encoder *e, const uint8_t *text, size_t size, size_t *taken) {
    const kq_tokenizer *t = e->t;
    if (t->flags & KQ_PRE_RAW) {
        KQ_TRY(kq_merge_split(e, text, size, taken));
        for (size_t i = 0; i < e->n_symbols; i++) {
            kq_symbol *s = &e->symbols[i];
            const uint8_t *c = e->fragment + s->start;
            s->id = c[0] < 0x80 ? t->bpe.byte_symbol[c[0]] : find_symbol(t, (const char *)c, s->size);
        }
        return KQ_OK;
    }
    *taken = e->n_symbols = size;
    if (!kq_grow(&t->allocator, &e->symbols, &e->symbols_capacity, size, sizeof *e->symbols)) {
        return kq_fail_memory(e->err, size * sizeof *e->symbols, "symbols of a piece");
    }
    uint32_t start = (uint32_t)(text - e->fragment);
    for (uint32_t i = 0; i < size; i++) e->symbols[i] = (kq_symbol){.start = start + i, .size = 1, .id = t->bpe.byte_symbol[text[i]]};
    return KQ_OK;
}

/* The token that a whole piece is, whatever its type, or KQ_NO_TOKEN. */
static kq_status whole_token(kq_encoder *e, const uint8_t *text, size_t size, int32_t *id) {
    const kq_tokenizer *t = e->t;
    *id = KQ_NO_TOKEN;
    if (size > t->vocab.longest) return KQ_OK; /* and in the byte alphabet it only gets longer */
    if (!(t->flags & KQ_PRE_RAW)) {
        if (!kq_grow(&t->allocator, &e->mapped, &e->mapped_capacity, 2 * size + 4, 1)) return kq_fail_memory(e->err, 2 * size, "a piece");
        uint8_t *out = e->mapped;
        for (size_t i = 0; i < size; i++) out += kq_utf8_encode(kq_byte_to_cp(text[i]), out);
        text = e->mapped;
        size = (size_t)(out - e->mapped);
    }
    *id = kq_vocab_find(&t->vocab, (const char *)text, size);
    return KQ_OK;
}

static bool only_newlines(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '\n') return false;
    }
    return true;
}

static kq_status piece(void *ctx, size_t at, size_t n) {
    kq_encoder *e = ctx;
    (void)at; /* pieces come in order */
    const uint8_t *text = e->next;
    size_t size = n;
    if (!e->ascii) {
        size = 0;
        for (size_t i = 0; i < n; i++) size += kq_utf8_length(text[size]);
    }
    e->next = text + size;
    uint32_t flags = e->t->flags;
    if (flags & KQ_PRE_IGNORE_MERGES || (flags & KQ_PRE_NEWLINES && only_newlines(text, size))) {
        int32_t id = KQ_NO_TOKEN;
        KQ_TRY(whole_token(e, text, size, &id));
        if (id != KQ_NO_TOKEN) {
            kq_encoder_put(e, id);
            return KQ_OK;
        }
    }
    for (size_t taken = 0; size; text += taken, size -= taken) {
        KQ_TRY(symbols_of(e, text, size, &taken));
        KQ_TRY(kq_merge(e, rank_of));
        for (size_t i = 0; i < e->n_symbols; i++) put_symbol(e, &e->symbols[i]);
    }
    return KQ_OK;
}

kq_status kq_bpe_fragment(kq_encoder *e, const char *text, size_t size) {
    size_t n = 0;
    KQ_TRY(kq_prepare(e, text, size, &n));
    return kq_splitter_run(&e->splitter, e->ascii ? e->fragment : e->classes, n, piece, e, e->err);
}
