/* SPDX-License-Identifier: MIT */
/* From ids to text: the bytes of one id, whole sequences with the model's clean-up, and the stream that never shows half a character. */
#include "file/file.h"
#include "text/text.h"

typedef struct sink {
    char *bytes;
    size_t capacity, size;
    bool drop_space; /* the next byte is dropped if it is a space */
} sink;

static void put(sink *s, const void *given, size_t n) {
    const char *bytes = given;
    if (s->drop_space && n) {
        s->drop_space = false;
        if (bytes[0] == ' ') bytes++, n--;
    }
    if (n && s->size < s->capacity) memcpy(s->bytes + s->size, bytes, KQ_MIN(n, s->capacity - s->size));
    s->size += n;
}

static const char hex[] = "0123456789abcdef";

static int hex_digit(char c) {
    const char *p = c ? strchr(hex, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c) : NULL;
    return p ? (int)(p - hex) : -1;
}

/* The byte that "<0xHH>" names, or -1. */
static int byte_of(const char *text, size_t size) {
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A text in the byte alphabet, back to bytes. A code point outside of it shows itself and the whole text, as in the reference. */
static void put_from_alphabet(sink *out, const char *text, size_t size) {
    for (size_t at = 0; at < size;) {
        uint32_t cp;
        at += kq_utf8_decode((const uint8_t *)text + at, size - at, &cp);
        int byte = kq_cp_to_byte(cp);
        if (byte >= 0) {
            char c = (char)byte;
            put(out, &c, 1);
            continue;
        }
        uint8_t utf8[4];
        size_t n = kq_utf8_encode(cp, utf8);
        put(out, "[UNK_BYTE_0x", 12);
        for (size_t i = 0; i < n; i++) {
            put(out, &hex[utf8[i] >> 4], 1);
            put(out, &hex[utf8[i] & 15], 1);
        }
        put(out, text, size);
        put(out, "]", 1);
    }
}

static void put_unescaped(sink *out, const char *text, size_t size) {
    for (size_t i = 0; i < size;) {
        bool space = i + 3 <= size && memcmp(text + i, "\xe2\x96\x81", 3) == 0;
        put(out, space ? " " : text + i, 1);
        i += space ? 3 : 1;
    }
}

/* TEST: the id in hex */
static void put_number(sink *out, uint32_t id) {
    char text[8];
    size_t n = sizeof text;
    do text[--n] = hex[id & 15];
    while (id >>= 4);
    put(out, text + n, sizeof text - n);
}

static void put_piece(const kq_tokenizer *t, uint32_t id, bool special, sink *out) {
    if (t->kind == KQ_TEXT_NONE) return;
    if (t->kind == KQ_TEXT_TEST) {
        put_number(out, id);
        return;
    }
    uint16_t is = t->vocab.is[id];
    size_t size;
    const char *text = kq_vocab_text(&t->vocab, id, &size);
    if (!special && is & (KQ_TOKEN_UNKNOWN | KQ_TOKEN_CONTROL)) return;
    if (is & (KQ_TOKEN_UNKNOWN | KQ_TOKEN_CONTROL | KQ_TOKEN_USER)) {
        put(out, text, size);
    } else if (is & KQ_TOKEN_NORMAL) {
        if (t->escape) put_unescaped(out, text, size); else put_from_alphabet(out, text, size);
    } else if (is & KQ_TOKEN_BYTE) {
        char byte = (char)byte_of(text, size);
        put(out, &byte, 1);
    }
}

kq_status kq_detokenize_open(kq_tokenizer *t, kq_error *err) {
    t->longest_piece = t->kind == KQ_TEXT_TEST ? 8 : 0;
    if (t->kind == KQ_TEXT_NONE || t->kind == KQ_TEXT_TEST) return KQ_OK;
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        size_t size;
        const char *text = kq_vocab_text(&t->vocab, id, &size);
        if (t->vocab.is[id] & KQ_TOKEN_BYTE && byte_of(text, size) < 0) {
            return kq_fail(err, KQ_E_MODEL, "token %u '%s' is a byte token, but not <0x00> to <0xFF>", (unsigned)id, kq_show(text, size).text);
        }
        sink measured = {0};
        put_piece(t, id, true, &measured);
        if (measured.size > KQ_VOCAB_MAX_PIECE) {
            return kq_fail(err, KQ_E_LIMIT, "token %u '%s' prints %zu bytes, the limit is %d", (unsigned)id, kq_show(text, size).text,
                           measured.size, KQ_VOCAB_MAX_PIECE);
        }
        t->longest_piece = KQ_MAX(t->longest_piece, measured.size);
    }
    return KQ_OK;
}

static kq_status check_id(const kq_tokenizer *t, int32_t id, kq_error *err) {
    if (id >= 0 && (size_t)id < t->vocab.n) return KQ_OK;
    return kq_fail(err, KQ_E_ARGUMENT, "id %d is not in the vocabulary of %zu", (int)id, t->vocab.n);
}

kq_status kq_tokenizer_piece(const kq_tokenizer *t, int32_t id, bool special, char *bytes, size_t capacity, size_t *size, kq_error *err) {
    *size = 0;
    KQ_TRY(check_id(t, id, err));
    sink out = {.bytes = bytes, .capacity = capacity};
    put_piece(t, (uint32_t)id, special, &out);
    *size = out.size;
    return KQ_OK;
}

/* ---- whole sequences -------------------------------------------------------------------------------------------------- */

/* The reference's clean-up, three passes; each looks at its own input's neighbours, and the first byte is never looked at. Returns
 * the new size. */
static size_t drop_before_marks(char *text, size_t size) {
    size_t out = size ? 1 : 0;
    for (size_t i = 1; i < size; i++) {
        char c = text[i];
        if (text[i - 1] == ' ' && (c == '?' || c == '!' || c == '.' || c == ',')) out--;
        text[out++] = c;
    }
    return out;
}

static size_t join_apostrophes(char *text, size_t size) {
    size_t out = size ? 1 : 0;
    for (size_t i = 1; i < size; i++) {
        char c = text[i];
        if (c == '\'' && i + 1 < size && text[i - 1] == ' ' && text[i + 1] == ' ') {
            out--;
            text[++i] = 0; /* so that the space that goes is no neighbour of the next apostrophe */
        }
        text[out++] = c;
    }
    return out;
}

static bool is_suffix(const char *text, size_t left) { /* after an apostrophe: s m re ve */
    if (left >= 1 && (text[0] == 's' || text[0] == 'm')) return true;
    return left >= 2 && (text[0] == 'r' || text[0] == 'v') && text[1] == 'e';
}

static size_t drop_before_suffixes(char *text, size_t size) {
    size_t out = size ? 1 : 0;
    for (size_t i = 1; i < size; i++) {
        char c = text[i];
        if (text[i - 1] == ' ' && c == '\'' && is_suffix(text + i + 1, size - i - 1)) out--;
        text[out++] = c;
    }
    return out;
}

static void put_sequence(const kq_tokenizer *t, const int32_t *ids, size_t count, bool special, sink *out) {
    out->drop_space = t->add_space_prefix;
    for (size_t i = 0; i < count; i++) {
        put_piece(t, (uint32_t)ids[i], special, out);
        out->drop_space = false; /* the first id's, even if it prints nothing */
    }
}

kq_status kq_tokenizer_decode(const kq_tokenizer *t, const int32_t *ids, size_t count, bool special, char *text, size_t capacity,
                              size_t *size, kq_error *err) {
    *size = 0;
    sink measured = {0};
    for (size_t i = 0; i < count; i++) KQ_TRY(check_id(t, ids[i], err));
    put_sequence(t, ids, count, special, &measured);
    /* a piece is at most 2^20 bytes and ids take 4: the sum cannot pass 2^64 */
    size_t n = measured.size;
    char *whole = kq_alloc_raw(&t->allocator, n, 1);
    if (!whole) return kq_fail_memory(err, n, "a text");
    sink out = {.bytes = whole, .capacity = n};
    put_sequence(t, ids, count, special, &out);
    if (t->clean_spaces) n = drop_before_suffixes(whole, join_apostrophes(whole, drop_before_marks(whole, n)));
    if (capacity) memcpy(text, whole, KQ_MIN(n, capacity));
    *size = n;
    kq_free(&t->allocator, whole);
    return KQ_OK;
}

/* ---- a stream ---------------------------------------------------------------------------------------------------------- */

void kq_detokenizer_init(kq_detokenizer *d, const kq_tokenizer *t, bool special, bool at_start) {
    *d = (kq_detokenizer){.tokenizer = t, .special = special, .drop_space = at_start && t->add_space_prefix};
}

/* Every byte comes out as U+FFFD at worst, after the one for what was held. */
size_t kq_detokenizer_capacity(const kq_tokenizer *t) { return 3 * t->longest_piece + 12; }

/* How many bytes a character that begins with these n has; 0 when none does. Unicode's table of well-formed sequences: no overlong forms,
 * no surrogates, nothing above U+10FFFF. */
static size_t well_formed(const uint8_t *p, size_t n) {
    uint8_t lead = p[0];
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    if (n > 1) {
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (p[1] < low || p[1] > high) return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    return kq_utf8_length(lead);
}

static void put_bad(sink *out) { put(out, "\xef\xbf\xbd", 3); }

/* One byte more. Like most decoders: one U+FFFD for as many bytes as could have begun a character. */
static void put_byte(kq_detokenizer *d, uint8_t byte, sink *out) {
    d->held[d->n_held++] = byte;
    size_t whole = well_formed(d->held, d->n_held);
    if (!whole && d->n_held > 1) { /* what was held ends here, and the byte begins anew */
        put_bad(out);
        d->held[0] = byte;
        d->n_held = 1;
        whole = well_formed(d->held, 1);
    }
    if (!whole) {
        put_bad(out);
        d->n_held = 0;
    } else if (whole == d->n_held) {
        put(out, d->held, whole);
        d->n_held = 0;
    }
}

kq_status kq_detokenizer_feed(kq_detokenizer *d, int32_t id, char *bytes, size_t capacity, size_t *size, kq_error *err) {
    const kq_tokenizer *t = d->tokenizer;
    *size = 0;
    KQ_TRY(check_id(t, id, err));
    if (capacity < kq_detokenizer_capacity(t)) {
        return kq_fail(err, KQ_E_ARGUMENT, "capacity is %zu, this vocabulary needs %zu", capacity, kq_detokenizer_capacity(t));
    }
    /* The piece goes to the end of the buffer, characters to its beginning. k bytes of the piece make at most 3 k + 3 bytes (4 when what is
     * held completes), and those never reach byte k of the piece, which lies 2 n + 12 + k in: k <= n. */
    sink piece = {.bytes = bytes + capacity - t->longest_piece, .capacity = t->longest_piece, .drop_space = d->drop_space};
    sink out = {.bytes = bytes, .capacity = capacity};
    put_piece(t, (uint32_t)id, d->special, &piece);
    d->drop_space = false;
    for (size_t i = 0; i < piece.size; i++) put_byte(d, (uint8_t)piece.bytes[i], &out);
    *size = out.size;
    return KQ_OK;
}

kq_status kq_detokenizer_finish(kq_detokenizer *d, char *bytes, size_t capacity, size_t *size, kq_error *err) {
    *size = 0;
    if (capacity < 12) return kq_fail(err, KQ_E_ARGUMENT, "capacity is %zu, 12 are needed", capacity);
    sink out = {.bytes = bytes, .capacity = capacity};
    if (d->n_held) put_bad(&out);
    d->n_held = 0;
    *size = out.size;
    return KQ_OK;
}
