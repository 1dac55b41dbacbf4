/* SPDX-License-Identifier: MIT */
/* SentencePiece BPE: symbols join when what they spell is a token, the highest score first. There are no pieces before. */
#include "text/text.h"

kq_status kq_spm_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    const kq_gguf_value *scores;
    size_t n = t->vocab.n;
    KQ_TRY(kq_vocab_numbers(g, "tokenizer.ggml.scores", n, true, &scores, err));
    t->scores = kq_alloc(&t->allocator, n, sizeof *t->scores);
    if (!t->scores) return kq_fail_memory(err, n * sizeof *t->scores, "scores of tokens");
    for (size_t id = 0; scores && id < n; id++) {
        double score;
        if (!kq_gguf_element_f64(scores, id, &score) || score != score) {
            return kq_fail(err, KQ_E_MODEL, "tokenizer.ggml.scores has no number for token %zu", id);
        }
        t->scores[id] = (float)score;
    }
    for (uint32_t id = 0; id < n; id++) {
        size_t size;
        const uint8_t *text = (const uint8_t *)kq_vocab_text(&t->vocab, id, &size);
        for (size_t i = 1; i < size; i++) {
            if (kq_merge_is_space(text + i, size - i)) t->joins_space[text[i - 1]] = true;
        }
    }
    return KQ_OK;
}

/* Floats as unsigned numbers in the same order, turned round: the highest score is the lowest rank. No score becomes
 * KQ_NO_SYMBOL, which would take a NaN. */
static uint32_t rank_of_score(float score) {
    uint32_t bits = kq_f32_to_bits(score == 0 ? 0.0f : score); /* -0 and 0 are equal */
    return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static uint32_t rank(const kq_encoder *e, const kq_symbol *left, const kq_symbol *right, uint32_t *id) {
    int32_t token = kq_vocab_find(&e->t->vocab, (const char *)e->fragment + left->start, (size_t)left->size + right->size);
    if (token == KQ_NO_TOKEN) return KQ_NO_SYMBOL;
    *id = (uint32_t)token;
    return rank_of_score(e->t->scores[token]);
}

/* A leading space, and every space as U+2581. Bad bytes stay as they are: they have tokens of their own. */
static kq_status escape(kq_encoder *e, const char *text, size_t size, size_t *out_size) {
    size_t bytes = size + 3;
    for (size_t i = 0; i < size; i++) bytes += text[i] == ' ' ? 2 : 0;
    if (!kq_grow(&e->t->allocator, &e->text, &e->text_capacity, bytes, 1)) return kq_fail_memory(e->err, bytes, "a text");
    uint8_t *out = e->text;
    static const uint8_t space[3] = {0xe2, 0x96, 0x81};
    if (e->t->add_space_prefix) {
        memcpy(out, space, 3);
        out += 3;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ' ') {
            memcpy(out, space, 3);
            out += 3;
        } else {
            *out++ = (uint8_t)text[i];
        }
    }
    *out_size = (size_t)(out - e->text);
    return KQ_OK;
}

static kq_status emit(kq_encoder *e, const kq_symbol *s) {
    const kq_tokenizer *t = e->t;
    const char *text = (const char *)e->fragment + s->start;
    int32_t id = s->id != KQ_NO_SYMBOL ? (int32_t)s->id : kq_vocab_find(&t->vocab, text, s->size);
    if (id != KQ_NO_TOKEN) {
        kq_encoder_put(e, id);
        return KQ_OK;
    }
    for (uint32_t i = 0; i < s->size; i++) {
        uint8_t byte = (uint8_t)text[i];
        id = t->hex_token[byte] != KQ_NO_TOKEN ? t->hex_token[byte] : t->byte_token[byte];
        if (id == KQ_NO_TOKEN) return kq_fail(e->err, KQ_E_MODEL, "the vocabulary has no token for byte 0x%02x", byte);
        kq_encoder_put(e, id);
    }
    return KQ_OK;
}

kq_status kq_spm_fragment(kq_encoder *e, const char *text, size_t size) {
    size_t bytes = 0, taken = 0;
    KQ_TRY(escape(e, text, size, &bytes));
    e->fragment = e->text;
    for (size_t at = 0; at < bytes; at += taken) {
        KQ_TRY(kq_merge_split(e, e->text + at, bytes - at, &taken));
        for (size_t i = 0; i < e->n_symbols; i++) e->symbols[i].id = KQ_NO_SYMBOL;
        KQ_TRY(kq_merge(e, rank));
        for (size_t i = 0; i < e->n_symbols; i++) KQ_TRY(emit(e, &e->symbols[i]));
    }
    return KQ_OK;
}
