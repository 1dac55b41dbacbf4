/* SPDX-License-Identifier: MIT */
/* Classes of code points, UTF-8 as the reference reads it, and the byte alphabet. */
#include "text/text.h"

#include <utf8proc.h>

/* The format's tables are those of Unicode 15.1. utf8proc 2.8 (Debian 12) has 15.0; the two differ in these 627 code points and in
 * nothing else, which a test shows by a hash over all code points. The same test fails where utf8proc is newer than 15.1. */
static utf8proc_category_t category_15_1(uint32_t cp) {
    if (cp >= 0x2ebf0 && cp <= 0x2ee5d) return UTF8PROC_CATEGORY_LO;                   /* CJK extension I */
    if ((cp >= 0x2ffc && cp <= 0x2fff) || cp == 0x31ef) return UTF8PROC_CATEGORY_SO;   /* ideographic description characters */
    return utf8proc_category((utf8proc_int32_t)cp);
}

static bool is_space(uint32_t cp) {
    switch (cp) {
    case 0x85: case 0xa0: case 0x1680: case 0x2028: case 0x2029: case 0x202f: case 0x205f: case 0x3000: return true;
    default: return cp >= 0x2000 && cp <= 0x200a;
    }
}

kq_class kq_unicode_class(uint32_t cp) {
    if (is_space(cp)) return KQ_CLASS_SPACE;
    switch (category_15_1(cp)) {
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO: return KQ_CLASS_N;
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return KQ_CLASS_L;
    case UTF8PROC_CATEGORY_PC: case UTF8PROC_CATEGORY_PD: case UTF8PROC_CATEGORY_PS: case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI: case UTF8PROC_CATEGORY_PF: case UTF8PROC_CATEGORY_PO: return KQ_CLASS_P;
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: return KQ_CLASS_M;
    case UTF8PROC_CATEGORY_SM: case UTF8PROC_CATEGORY_SC: case UTF8PROC_CATEGORY_SK: case UTF8PROC_CATEGORY_SO: return KQ_CLASS_S;
    default: return KQ_CLASS_OTHER;
    }
}

bool kq_unicode_is_han(uint32_t cp) {
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) || (cp >= 0x20000 && cp <= 0x2a6df) ||
           (cp >= 0x2a700 && cp <= 0x2ebef) || (cp >= 0xf900 && cp <= 0xfaff) ||
           (cp >= 0x2f800 && cp <= 0x2fa1f);
}

size_t kq_utf8_decode(const uint8_t *p, size_t left, uint32_t *cp) {
    uint32_t c = p[0];
    *cp = c;
    if (c < 0x80) return 1;
    *cp = 0xfffd;
    if (c < 0xc0 || c >= 0xf8) return 1;
    uint32_t n = kq_utf8_length((uint8_t)c);
    if (n > left) return 1;
    c &= 0x7fu >> n;
    for (uint32_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 1;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c > 0x10ffff) return 1;
    *cp = c;
    return n;
}

size_t kq_utf8_encode(uint32_t cp, uint8_t out[4]) {
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xc0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xe0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | cp >> 18);
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (cp & 0x3f));
    return 4;
}

/* Bytes that print in Latin-1 stand for themselves; the 68 others are U+0100 to U+0143 in ascending order:
 * 00-20 are 33 bytes, 7F-A0 34, AD one. */
uint32_t kq_byte_to_cp(uint8_t byte) {
    if (byte <= 0x20) return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121u + (byte - 0x7fu);
    return byte == 0xad ? 0x143u : byte;
}

int kq_cp_to_byte(uint32_t cp) {
    if (cp >= 0x100 && cp <= 0x120) return (int)(cp - 0x100);
    if (cp >= 0x121 && cp <= 0x142) return (int)(cp - 0x121 + 0x7f);
    if (cp == 0x143) return 0xad;
    bool plain = (cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xff && cp != 0xad);
    return plain ? (int)cp : -1;
}
