/* SPDX-License-Identifier: MIT */
/* A fragment made ready for patterns: canonical UTF-8 (bad bytes are U+FFFD, overlong forms in their shortest, spaces escaped where the
 * vocabulary wants that) and one byte of class for every code point. ASCII text is its own string of classes and is not copied. */
#include "text/text.h"

static size_t ascii_run(const uint8_t *p, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        if (kq_load_u64(p + i) & UINT64_C(0x8080808080808080)) break;
    }
    while (i < n && p[i] < 0x80) i++;
    return i;
}

typedef struct survey {
    size_t bytes;   /* of the canonical text */
    size_t n;       /* its code points */
    bool canonical; /* the text is canonical as it stands */
} survey;

static survey look_over(const uint8_t *text, size_t size, bool escape) {
    survey s = {.canonical = true};
    for (size_t at = 0; at < size;) {
        size_t run = ascii_run(text + at, size - at);
        s.bytes += run;
        s.n += run;
        if (escape) {
            for (size_t i = at; i < at + run; i++) {
                if (text[i] == ' ') s.bytes += 2, s.canonical = false;
            }
        }
        at += run;
        if (at == size) break;
        uint32_t cp;
        uint8_t bytes[4];
        size_t taken = kq_utf8_decode(text + at, size - at, &cp), n = kq_utf8_encode(cp, bytes);
        if (n != taken || memcmp(bytes, text + at, n) != 0) s.canonical = false;
        s.bytes += n;
        s.n++;
        at += taken;
    }
    return s;
}

static void rewrite(uint8_t *out, const uint8_t *text, size_t size, bool escape) {
    for (size_t at = 0; at < size;) {
        uint32_t cp;
        bool space = text[at] == ' '; /* escaping comes before decoding: an overlong space stays a space */
        at += kq_utf8_decode(text + at, size - at, &cp);
        out += kq_utf8_encode(escape && space ? 0x2581 : cp, out);
    }
}

kq_status kq_prepare(kq_encoder *e, const char *given, size_t size, size_t *n) {
    const kq_allocator *a = &e->t->allocator;
    const uint8_t *text = (const uint8_t *)given;
    survey s = look_over(text, size, e->t->escape);
    if (!s.canonical) {
        /* four bytes beyond the end, so that the encoder may always write a whole code point */
        if (!kq_grow(a, &e->text, &e->text_capacity, s.bytes + 4, 1)) return kq_fail_memory(e->err, s.bytes, "a text");
        rewrite(e->text, text, size, e->t->escape);
        text = e->text;
    }
    *n = s.n;
    e->fragment = e->next = text;
    e->ascii = s.n == s.bytes;
    if (e->ascii) return KQ_OK;
    if (!kq_grow(a, &e->classes, &e->classes_capacity, s.n, 1)) return kq_fail_memory(e->err, s.n, "the classes of a text");
    uint8_t *class = e->classes;
    for (size_t at = 0; at < s.bytes;) {
        size_t run = ascii_run(text + at, s.bytes - at);
        memcpy(class, text + at, run);
        class += run;
        at += run;
        if (at == s.bytes) break;
        uint32_t cp;
        at += kq_utf8_decode(text + at, s.bytes - at, &cp);
        *class++ = kq_chain_class(e->t->chain, cp);
    }
    return KQ_OK;
}
