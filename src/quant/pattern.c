/* SPDX-License-Identifier: MIT */
/* Globs: * any characters, ? one, [a-z] or [!a-z] one of a set, {one,two,0..7} one of several, a range being a number without leading
 * zeros. The matcher carries the set of all places in the text that the glob may have reached, so no glob takes more than its length
 * times that of the text. */
#include "quant/quant.h"

enum { PLACES = KQ_GGUF_MAX_NAME + 1 };

typedef struct places {
    bool at[PLACES];
} places;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Reads a..b up to , or }; NULL when it is none. Numbers have at most nine digits. */
static const char *read_range(const char *p, uint32_t *low, uint32_t *high) {
    uint32_t *out[2] = {low, high};
    for (int i = 0; i < 2; i++) {
        int digits = 0;
        for (*out[i] = 0; is_digit(*p) && digits < 9; digits++) *out[i] = *out[i] * 10 + (uint32_t)(*p++ - '0');
        if (digits == 0) return NULL;
        if (i == 0) {
            if (p[0] != '.' || p[1] != '.') return NULL;
            p += 2;
        }
    }
    return *p == ',' || *p == '}' ? p : NULL;
}

/* ---- well-formed? -------------------------------------------------------------------------------------------------- */

static const char *check_set(const char **at) {
    const char *p = *at + 1;
    if (*p == '!') p++;
    if (*p == ']') return "[] is empty";
    for (; *p && *p != ']'; p++) {
        if (p[1] == '-' && p[2] && p[2] != ']') {
            if (p[0] > p[2]) return "a range in [] runs backwards";
            p += 2;
        }
    }
    if (!*p) return "[ without ]";
    *at = p + 1;
    return NULL;
}

/* Checks up to the end, or inside braces to , or }. Braces do not nest: no name needs it. */
static const char *check(const char *p, bool inside) {
    while (*p) {
        const char *why = NULL;
        if (*p == '[') {
            why = check_set(&p);
        } else if (*p == '{') {
            if (inside) return "{ inside {}";
            do {
                uint32_t low, high;
                const char *end = read_range(++p, &low, &high);
                if (end && low > high) return "a range in {} runs backwards";
                if (!end) why = check(p, true);
                while (!end && !why && *p && *p != ',' && *p != '}') {
                    if (*p == '[') why = check_set(&p);
                    else p++;
                }
                if (end) p = end;
            } while (!why && *p == ',');
            if (!why && *p++ != '}') return "{ without }";
        } else if (*p == '}' || *p == ',') {
            return inside ? NULL : *p == '}' ? "} without {" : ", outside {}";
        } else if (*p == ']') {
            return "] without [";
        } else if (strchr("\\()|^$+", *p)) {
            return "patterns are globs (* ? [a-z] {a,b,0..7}), not regular expressions";
        } else {
            p++;
        }
        if (why) return why;
    }
    return NULL;
}

const char *kq_glob_check(const char *glob) {
    if (!*glob) return "it is empty";
    return check(glob, false);
}

/* ---- matching ------------------------------------------------------------------------------------------------------ */

static bool in_set(const char *p, const char *end, char c) {
    bool negated = *p == '!', found = false;
    for (p += negated; p < end; p++) {
        if (p + 2 < end && p[1] == '-') {
            found |= c >= p[0] && c <= p[2];
            p += 2;
        } else {
            found |= c == *p;
        }
    }
    return found != negated;
}

static void step_range(places *to, const places *from, const char *text, size_t n, uint32_t low, uint32_t high) {
    for (size_t i = 0; i < n; i++) {
        uint32_t value = 0;
        for (size_t k = i; from->at[i] && k < n && is_digit(text[k]) && k - i < 9; k++) {
            value = value * 10 + (uint32_t)(text[k] - '0');
            if (value >= low && value <= high) to->at[k + 1] = true;
            if (value == 0) break; /* no number goes on after a leading zero */
        }
    }
}

static const char *match(const char *p, bool inside, places *now, const char *text, size_t n);

/* The alternatives of braces, from behind the {: all that any of them reaches. */
static const char *step_braces(const char *p, places *now, const char *text, size_t n) {
    places all = {{false}};
    do {
        uint32_t low, high;
        const char *end = read_range(p, &low, &high);
        places branch = *now;
        if (end) {
            places to = {{false}};
            step_range(&to, now, text, n, low, high);
            branch = to;
        } else {
            end = match(p, true, &branch, text, n);
        }
        for (size_t i = 0; i <= n; i++) all.at[i] |= branch.at[i];
        p = end;
    } while (*p++ == ',');
    *now = all;
    return p;
}

/* Moves the places in *now over the glob to its end, or inside braces to , or }; returns where that is. */
static const char *match(const char *p, bool inside, places *now, const char *text, size_t n) {
    while (*p && !(inside && (*p == ',' || *p == '}'))) {
        if (*p == '{') {
            p = step_braces(p + 1, now, text, n);
            continue;
        }
        if (*p == '*') {
            for (size_t i = 1; i <= n; i++) now->at[i] |= now->at[i - 1];
            p++;
            continue;
        }
        const char *end = p; /* of a set */
        if (*p == '[') {
            for (end = p + 1; *end != ']'; end++) {}
        }
        for (size_t i = n; i > 0; i--) {
            char c = text[i - 1];
            bool fits = *p == '?' || (*p == '[' ? in_set(p + 1, end, c) : *p == c);
            now->at[i] = now->at[i - 1] && fits;
        }
        now->at[0] = false;
        p = end + 1;
    }
    return p;
}

bool kq_glob_matches(const char *glob, const char *text) {
    size_t n = strlen(text);
    if (n >= PLACES) return false;
    places now = {{true}};
    match(glob, false, &now, text, n);
    return now.at[n];
}
