/* SPDX-License-Identifier: MIT */
/* From patterns over code points to patterns over bytes.
 *
 * A chain of patterns can only ask few things about a code point above U+007F: its class (a digit, letter, mark, punctuation, symbol,
 * white space, or none of these) and whether it lies in one of the sets of ranges that the patterns write out, of which no chain
 * has more than four. So one byte holds all there is to know:
 *
 *     below 80   the code point itself, and 0B for every white space above U+007F
 *     80-FF      1 s3 s2 s1 s0 c2 c1 c0     s: member of set 0-3    c: a kq_class, N to HAN
 *
 * A text becomes a string of such bytes, one for each code point, and each pattern a pattern over bytes that PCRE2 runs without
 * its Unicode mode: offsets are numbers of code points, \s and \S are right as they stand, and the library's own Unicode tables,
 * of whatever version, play no part. White space is decided first: U+3000 is \s, but no member of a set that spans it.
 *
 * What a pattern may hold: everything of PCRE2 over ASCII; \p{N L P M S Lu Ll Han}; and inside brackets \x{..} above 7F, single or as
 * a range. \p{Lu} is every letter less a-z, \p{Ll} every letter less A-Z. \p{L} does not hold Han where the chain says \p{Han}. */
#include "text/text.h"

#include <stdlib.h>

static const struct {
    const char *name, *ascii; /* as it stands in a bracket */
    kq_class class;
} properties[] = {
    {"N", "0-9", KQ_CLASS_N},
    {"L", "A-Za-z", KQ_CLASS_L},
    {"Lu", "A-Z", KQ_CLASS_L},
    {"Ll", "a-z", KQ_CLASS_L},
    {"P", "!-#%-*,-/:;?@\\[-\\]_{}", KQ_CLASS_P},
    {"S", "$+<->\\^`|~", KQ_CLASS_S},
    {"M", "", KQ_CLASS_M},
    {"Han", "", KQ_CLASS_HAN},
};

/* "\p{NAME}" at p: the index of the property and the bytes it takes; -1 when it is none. */
static int property_at(const char *p, size_t *taken) {
    for (size_t i = 0; i < KQ_COUNT(properties); i++) {
        size_t n = strlen(properties[i].name);
        if (strncmp(p + 3, properties[i].name, n) == 0 && p[3 + n] == '}') {
            *taken = n + 4;
            return (int)i;
        }
    }
    return -1;
}

/* "\x{..}" or "\x{..}-\x{..}" at p. */
static bool range_at(const char *p, kq_range *range, size_t *taken) {
    char *end;
    range->first = range->last = (uint32_t)strtoul(p + 3, &end, 16);
    if (*end != '}') return false;
    if (strncmp(end + 1, "-\\x{", 4) == 0) {
        range->last = (uint32_t)strtoul(end + 5, &end, 16);
        if (*end != '}') return false;
    }
    *taken = (size_t)(end + 1 - p);
    return range->first >= 0x80 && range->first <= range->last;
}

static int by_first(const void *x, const void *y) {
    const kq_range *a = x, *b = y;
    return (a->first > b->first) - (a->first < b->first);
}

/* Sorts a set's ranges and joins those that touch; returns how many are left. */
static uint32_t tidy(kq_range *ranges, uint32_t n) {
    qsort(ranges, n, sizeof *ranges, by_first);
    uint32_t out = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (ranges[i].first <= ranges[out].last + 1) {
            ranges[out].last = KQ_MAX(ranges[out].last, ranges[i].last);
        } else {
            ranges[++out] = ranges[i];
        }
    }
    return n ? out + 1 : 0;
}

bool kq_pattern_collect(kq_alphabet *a, const char *pattern) {
    uint32_t begin = a->n_sets ? a->set_end[a->n_sets - 1] : 0, n = begin;
    bool in_bracket = false;
    for (const char *p = pattern; *p;) {
        size_t taken = 1;
        if (strncmp(p, "\\x{", 3) == 0) {
            if (!in_bracket || n == KQ_PATTERN_RANGES || !range_at(p, &a->ranges[n++], &taken)) return false;
        } else if (*p == '\\') {
            if (strncmp(p, "\\p{Han}", 7) == 0) a->han = true;
            taken = p[1] ? 2 : 1;
        } else if (*p == '[') { /* a '[' in a bracket is always escaped in our rows */
            if (in_bracket) return false;
            in_bracket = true;
        } else if (*p == ']') {
            if (!in_bracket) return false;
            in_bracket = false;
            if (n > begin) {
                if (a->n_sets == KQ_PATTERN_SETS) return false;
                n = begin + tidy(a->ranges + begin, n - begin);
                a->set_end[a->n_sets++] = begin = n;
            }
        }
        p += taken;
    }
    return !in_bracket;
}

static uint8_t class_byte(uint32_t members, kq_class class) { return (uint8_t)(0x80u | members << 3 | class); }

uint8_t kq_alphabet_class(const kq_alphabet *a, uint32_t cp) {
    if (cp < 0x80) return (uint8_t)cp;
    kq_class class = kq_unicode_class(cp);
    if (class == KQ_CLASS_SPACE) return 0x0b;
    if (a->han && kq_unicode_is_han(cp)) class = KQ_CLASS_HAN;
    uint32_t members = 0;
    for (uint32_t s = 0, low = 0; s < a->n_sets; low = a->set_end[s++]) {
        uint32_t from = low, to = a->set_end[s]; /* the first range that ends at cp or after */
        while (from < to) {
            uint32_t middle = from + (to - from) / 2;
            if (a->ranges[middle].last < cp) from = middle + 1; else to = middle;
        }
        if (from < a->set_end[s] && a->ranges[from].first <= cp) members |= 1u << s;
    }
    return class_byte(members, class);
}

typedef struct output {
    char *bytes;
    size_t n;
    bool full;
} output;

static void put(output *o, const char *text, size_t n) {
    if (n > KQ_PATTERN_BYTES - 1 - o->n) {
        o->full = true;
        return;
    }
    memcpy(o->bytes + o->n, text, n);
    o->n += n;
}

static void put_class(output *o, uint8_t byte) {
    static const char hex[] = "0123456789abcdef";
    char text[4] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
    put(o, text, 4);
}

bool kq_pattern_rewrite(const kq_alphabet *a, const char *pattern, uint32_t *first_set, char out[KQ_PATTERN_BYTES], size_t *size) {
    output o = {.bytes = out};
    bool in_bracket = false, has_ranges = false;
    for (const char *p = pattern; *p;) {
        size_t taken = 1;
        kq_range range;
        if (strncmp(p, "\\p{", 3) == 0) {
            int i = property_at(p, &taken);
            if (i < 0) return false;
            if (!in_bracket) put(&o, "[", 1);
            put(&o, properties[i].ascii, strlen(properties[i].ascii));
            for (uint32_t members = 0; members < 1u << a->n_sets; members++) put_class(&o, class_byte(members, properties[i].class));
            if (!in_bracket) put(&o, "]", 1);
        } else if (strncmp(p, "\\x{", 3) == 0) {
            if (!range_at(p, &range, &taken)) return false;
            has_ranges = true;
        } else {
            if (*p == '[') in_bracket = true;
            if (*p == ']' && has_ranges) { /* what the bracket's ranges have become */
                for (uint32_t byte = 0x80; byte < 0x100; byte++) {
                    if (byte >> 3 >> *first_set & 1) put_class(&o, (uint8_t)byte);
                }
                ++*first_set;
            }
            if (*p == ']') in_bracket = has_ranges = false;
            if (*p == '\\') taken = p[1] ? 2 : 1;
            put(&o, p, taken);
        }
        p += taken;
    }
    out[o.n] = 0;
    *size = o.n;
    return !o.full;
}
