/* SPDX-License-Identifier: MIT */
/* Every chain of patterns against the format's own patterns (tests/golden/pretokenizers.txt), matched the slow way: a backtracking
 * matcher over code points that knows nothing of classes in a byte, of rewritten patterns, or of PCRE2. And the time they take. */
#include "golden.h"
#include "random.h"

#include "text/text.h"

#include <setjmp.h>
#include <time.h>

#include <cmocka.h>

/* ---- the format's patterns ------------------------------------------------------------------------------------------------ */

enum { NAMES = 64, NAME_COLUMN = 11 };
static struct {
    char name[16];
    char *text; /* expanded; stages parted by " » " */
} chains[NAMES];
static size_t n_chains;

static const char *chain_text(const char *name, size_t size) {
    for (size_t i = 0; i < n_chains; i++) {
        if (strlen(chains[i].name) == size && memcmp(chains[i].name, name, size) == 0) return chains[i].text;
    }
    return NULL;
}

/* {X} for a name that is known; \p{X}, \x{X} and {1,3} stay as they are. */
static char *expand(const char *pattern) {
    char *out = malloc(65536);
    size_t n = 0;
    for (const char *p = pattern; *p; p++) {
        const char *end = *p == '{' && !(p > pattern && (p[-1] == 'p' || p[-1] == 'x')) ? strchr(p, '}') : NULL;
        const char *text = end ? chain_text(p + 1, (size_t)(end - p - 1)) : NULL;
        if (!text) {
            out[n++] = *p;
            continue;
        }
        memcpy(out + n, text, strlen(text));
        n += strlen(text);
        p = end;
    }
    out[n] = 0;
    return out;
}

static void read_patterns(void) {
    size_t size;
    char *file = (char *)golden_read(&size, "pretokenizers.txt");
    for (char *line = strtok(file, "\n"); line; line = strtok(NULL, "\n")) {
        if (*line == '#' || *line == '=') continue;
        size_t from = *line == '{', to = strcspn(line + from, " }") + from;
        assert_true(n_chains < NAMES && to - from < sizeof chains[0].name);
        memcpy(chains[n_chains].name, line + from, to - from);
        chains[n_chains++].text = expand(line + NAME_COLUMN);
    }
    free(file);
}

/* ---- a matcher that takes its time ---------------------------------------------------------------------------------------- */

typedef struct node {
    enum { ONE, SEQUENCE, EITHER, REPEAT, LOOK, NOT, AT_END, NOTHING } kind;
    struct node *a, *b;
    int min, max;
    const char *test; /* ONE: where in the pattern the class or character is */
} node;

typedef struct matcher {
    const uint32_t *text;
    size_t n, end;
    bool category; /* some stage-wide \p */
} matcher;

static node pool[20000];
static size_t n_pool;
static node *new_node(node n) {
    assert_true(n_pool < KQ_COUNT(pool));
    pool[n_pool] = n;
    return &pool[n_pool++];
}

static node *parse_either(const char **p);

static const char *class_end(const char *p) {
    for (p++; *p != ']'; p++) p += *p == '\\';
    return p + 1;
}

static const char *escape_end(const char *p) { return (p[1] == 'p' || p[1] == 'x') && p[2] == '{' ? strchr(p, '}') + 1 : p + 2; }

static node *parse_atom(const char **p) {
    const char *at = *p;
    node *n;
    if (*at == '(') {
        int kind = strncmp(at, "(?=", 3) == 0 ? LOOK : strncmp(at, "(?!", 3) == 0 ? NOT : SEQUENCE;
        *p = at + (strncmp(at, "(?", 2) == 0 ? 3 : 1);
        n = parse_either(p);
        assert_int_equal(**p, ')');
        ++*p;
        return kind == SEQUENCE ? n : new_node((node){.kind = kind == LOOK ? LOOK : NOT, .a = n});
    }
    if (*at == '$') {
        ++*p;
        return new_node((node){.kind = AT_END});
    }
    *p = *at == '[' ? class_end(at) : *at == '\\' ? escape_end(at) : at + 1;
    return new_node((node){.kind = ONE, .test = at});
}

static node *parse_repeat(const char **p) {
    node *a = parse_atom(p);
    int min = 1, max = 1;
    char *end = NULL;
    switch (**p) {
    case '?': min = 0; break;
    case '*': min = 0; max = 1 << 30; break;
    case '+': max = 1 << 30; break;
    case '{':
        min = max = (int)strtol(*p + 1, &end, 10);
        if (*end == ',') max = (int)strtol(end + 1, &end, 10);
        *p = end;
        break;
    default: return a;
    }
    ++*p;
    return new_node((node){.kind = REPEAT, .a = a, .min = min, .max = max});
}

static node *parse_sequence(const char **p) {
    node *left = new_node((node){.kind = NOTHING});
    while (**p && **p != '|' && **p != ')') {
        node *right = parse_repeat(p);
        left = new_node((node){.kind = SEQUENCE, .a = left, .b = right});
    }
    return left;
}

static node *parse_either(const char **p) {
    node *left = parse_sequence(p);
    while (**p == '|') {
        ++*p;
        node *right = parse_sequence(p);
        left = new_node((node){.kind = EITHER, .a = left, .b = right});
    }
    return left;
}

static bool is_space_cp(uint32_t cp) { return cp == ' ' || (cp >= 9 && cp <= 13); } /* others are U+000B by now */

static bool has_property(uint32_t cp, char name) {
    static const char punctuation[] = "!\"#%&'()*,-./:;?@[\\]_{}", symbols[] = "$+<=>^`|~";
    if (cp < 0x80) {
        bool letter = (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z');
        switch (name) {
        case 'N': return cp >= '0' && cp <= '9';
        case 'L': case 'K': return letter;
        case 'P': return cp && strchr(punctuation, (int)cp);
        case 'S': return cp && strchr(symbols, (int)cp);
        default: return false;
        }
    }
    kq_class class = kq_unicode_class(cp);
    switch (name) {
    case 'N': return class == KQ_CLASS_N;
    case 'L': return class == KQ_CLASS_L;
    case 'K': return class == KQ_CLASS_L && !kq_unicode_is_han(cp);
    case 'H': return kq_unicode_is_han(cp);
    case 'P': return class == KQ_CLASS_P;
    case 'S': return class == KQ_CLASS_S;
    default: return class == KQ_CLASS_M;
    }
}

/* The code point that p stands for, and where it ends; the test has handled \p \s \S \d. */
static uint32_t literal(const char **p) {
    const char *at = *p;
    char *end;
    if (*at != '\\') {
        ++*p;
        return (uint8_t)*at;
    }
    *p = at + 2;
    switch (at[1]) {
    case 'r': return '\r';
    case 'n': return '\n';
    case 't': return '\t';
    case 'x': {
        uint32_t cp = (uint32_t)strtoul(at + 3, &end, 16);
        *p = end + 1;
        return cp;
    }
    default: return (uint8_t)at[1];
    }
}

static bool item(const char **p, uint32_t cp, bool category) {
    const char *at = *p;
    if (at[0] == '\\' && strchr("psSd", at[1])) {
        *p = escape_end(at);
        if (at[1] == 'p') return has_property(cp, at[3]);
        if (at[1] == 'd') return cp >= '0' && cp <= '9';
        return is_space_cp(cp) == (at[1] == 's');
    }
    uint32_t first = literal(p), last = first;
    if (**p == '-' && (*p)[1] != ']') {
        ++*p;
        last = literal(p);
    }
    return cp >= first && cp <= last && (cp < 0x80 || !category);
}

static bool one(const matcher *m, const char *p, uint32_t cp) {
    if (*p != '[') {
        const char *q = p;
        if (*p == '\\') return item(&q, cp, m->category);
        return cp == (uint8_t)*p;
    }
    bool negated = p[1] == '^', hit = false;
    for (p += negated ? 2 : 1; *p != ']';) hit |= item(&p, cp, m->category);
    return hit != negated;
}

typedef struct rest { /* what must match after */
    const node *n;
    const struct rest *next;
    int count; /* of a repeat */
    size_t from;
} rest;

static bool match(matcher *m, const node *n, size_t at, const rest *next, int count);

static bool go_on(matcher *m, size_t at, const rest *r) {
    if (!r) {
        m->end = at;
        return true;
    }
    if (r->n->kind == REPEAT && r->count > r->n->min && at == r->from) return false;
    return match(m, r->n, at, r->next, r->count);
}

static bool match(matcher *m, const node *n, size_t at, const rest *next, int count) {
    switch (n->kind) {
    case NOTHING: return go_on(m, at, next);
    case AT_END: return at == m->n && go_on(m, at, next);
    case ONE: return at < m->n && one(m, n->test, m->text[at]) && go_on(m, at + 1, next);
    case SEQUENCE: return match(m, n->a, at, &(rest){.n = n->b, .next = next}, 0);
    case EITHER: return match(m, n->a, at, next, 0) || match(m, n->b, at, next, 0);
    case REPEAT:
        if (count < n->max && match(m, n->a, at, &(rest){.n = n, .next = next, .count = count + 1, .from = at}, 0)) return true;
        return count >= n->min && go_on(m, at, next);
    case LOOK: case NOT: return match(m, n->a, at, NULL, 0) == (n->kind == LOOK) && go_on(m, at, next);
    }
    return false;
}

/* ---- chains, the slow way --------------------------------------------------------------------------------------------------- */

enum { MAX = 700 };
typedef struct cuts {
    bool at[MAX + 1]; /* a piece begins here */
} cuts;

static void slow_pattern(const char *pattern, const uint32_t *cps, size_t n, cuts *c) {
    uint32_t text[MAX];
    n_pool = 0;
    const char *p = pattern;
    node *root = parse_either(&p);
    assert_int_equal(*p, 0);
    matcher m = {.category = strstr(pattern, "\\p{") != NULL};
    for (size_t i = 0; i < n; i++) text[i] = cps[i] >= 0x80 && kq_unicode_class(cps[i]) == KQ_CLASS_SPACE ? 0x0b : cps[i];
    cuts out = *c;
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && !c->at[end]; end++) {}
        m.text = text + begin;
        m.n = end - begin;
        for (size_t at = 0; at < m.n;) {
            if (!match(&m, root, at, NULL, 0)) {
                at++;
                continue;
            }
            out.at[begin + at] = out.at[begin + m.end] = true;
            at = m.end > at ? m.end : at + 1;
        }
    }
    *c = out;
}

static void slow_digits3(const uint32_t *cps, size_t n, cuts *c) {
    cuts out = *c;
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && !c->at[end]; end++) {}
        for (size_t i = begin; i < end; i++) {
            if (!has_property(cps[i], 'N')) continue;
            size_t stop = i;
            while (stop < end && has_property(cps[stop], 'N')) stop++;
            for (size_t k = i + 1; k <= stop; k++) out.at[k] |= (stop - k) % 3 == 0; /* the run's own begin is no cut */
            i = stop;
        }
    }
    *c = out;
}

static void slow_chain(const char *chain, const uint32_t *cps, size_t n, cuts *c) {
    memset(c, 0, sizeof *c);
    c->at[0] = true;
    while (chain) {
        static char stage[65536];
        const char *end = strstr(chain, " » ");
        size_t size = end ? (size_t)(end - chain) : strlen(chain);
        memcpy(stage, chain, size);
        stage[size] = 0;
        if (strcmp(stage, "@digits3") == 0) slow_digits3(cps, n, c); else slow_pattern(stage, cps, n, c);
        chain = end ? end + strlen(" » ") : NULL;
    }
}

/* ---- comparison -------------------------------------------------------------------------------------------------------------- */

typedef struct collected {
    cuts cuts;
    size_t next, pieces;
} collected;

static kq_status collect(void *ctx, size_t at, size_t n) {
    collected *c = ctx;
    assert_int_equal(at, c->next); /* in order, nothing lost */
    assert_true(n > 0);
    if (at <= MAX) c->cuts.at[at] = true;
    c->next = at + n;
    c->pieces++;
    return KQ_OK;
}

static uint32_t borders[600]; /* of ranges that patterns name */
static size_t n_borders;

static void find_borders(void) {
    for (size_t i = 0; i < n_chains; i++) {
        for (const char *p = chains[i].text; (p = strstr(p, "\\x{")); p++) {
            assert_true(n_borders < KQ_COUNT(borders));
            borders[n_borders++] = (uint32_t)strtoul(p + 3, NULL, 16);
        }
    }
}

/* What patterns tell apart: each class, each set of ranges and its borders, blanks, line ends, contractions, digits in runs. */
static size_t random_cps(uint32_t *cps) {
    static const uint32_t known[] = {
        'a', 'z', 'A', 'Z', 's', 'S', 't', 'r', 'e', 'v', 'm', 'l', 'L', 'd', 'I', 'M', 'G', '0', '1', '9', ' ', ' ', ' ', '\n', '\r', '\t', 0x0b, 0x0c,
        '\'', '\'', '!', '/', '(', '|', '$', '^', '`', '~', '_', '-', ']', '[', '\\', '<', '>', '.', ',', 0, 1, 0x7f, 0x80, 0x85, 0xa0, 0xad, 0xb5, 0xc0,
        0xd7, 0xe9, 0x2b0, 0x300, 0x301, 0x3a9, 0x42f, 0x660, 0x663, 0x964, 0x60c, 0x6d4, 0xe01, 0xe31, 0x1100, 0x1780, 0x2000, 0x200b, 0x2018, 0x201c,
        0x2026, 0x2028, 0x202f, 0x20ac, 0x2150, 0x2160, 0x2ffc, 0x3000, 0x3001, 0x3003, 0x3005, 0x3007, 0x3040, 0x3042, 0x30a2, 0x30ff, 0x3105, 0x3131,
        0x31ef, 0x3400, 0x4dff, 0x4e00, 0x9fa5, 0x9fa6, 0x9fff, 0xa960, 0xac00, 0xd7a3, 0xd7a4, 0xd800, 0xdfff, 0xe000, 0xf900, 0xfaff, 0xfb00, 0xfe30,
        0xfe4f, 0xff01, 0xff0c, 0xff10, 0xff19, 0xff21, 0xff41, 0xff65, 0xff9f, 0xfffd, 0xffff, 0x10400, 0x16fe0, 0x1d400, 0x1d7ce, 0x1f600, 0x20000, 0x2a6de,
        0x2a6e0, 0x2ceb0, 0x2ebf0, 0x2f800, 0x2fa20, 0x30000, 0xe0100, 0x10ffff};
    size_t n = 0, max = below(8) ? 40 : 200;
    for (size_t k = 1 + below(16); k > 0 && n < max; k--) {
        uint32_t cp = known[below(KQ_COUNT(known))];
        size_t kind = below(12), run = 1;
        if (kind == 0) cp = (uint32_t)below(0x110000);
        if (kind == 1) cp = (uint32_t)below(0x80);
        if (kind >= 10) cp = borders[below(n_borders)] + (uint32_t)below(3) - 1;
        if (kind == 2) cp = ' ';
        if (kind == 3) cp = '0' + (uint32_t)below(10);
        if (kind == 4) cp = below(2) ? '\n' : '\r';
        if (kind > 1 && kind < 7) run = 1 + below(below(4) ? 4 : 20);
        for (; run > 0 && n < max; run--) cps[n++] = cp;
    }
    if (n + 10 < MAX && below(4) == 0) { /* what random text does not spell */
        static const char *const words[] = {"<sentinel:12>", "IMGIMGABZ", "'ll", "'RE", "    ", "12345678", "Hello World", "  "};
        const char *word = words[below(KQ_COUNT(words))];
        for (size_t i = 0; word[i]; i++) cps[n++] = (uint8_t)word[i];
    }
    if (below(50) == 0) { /* the long blank runs of one family */
        for (size_t run = below(MAX - n); run > 0; run--) cps[n++] = below(400) ? ' ' : '\n';
    }
    return n;
}

static void compare(const kq_pretokenizer *row, const kq_chain *chain, kq_splitter *splitter, const uint32_t *cps, size_t n) {
    uint8_t classes[MAX];
    cuts want;
    collected have = {0};
    for (size_t i = 0; i < n; i++) classes[i] = kq_chain_class(chain, cps[i]);
    assert_int_equal(kq_splitter_run(splitter, classes, n, collect, &have, NULL), KQ_OK);
    assert_int_equal(have.next, n);
    slow_chain(chain_text(row->chain, strlen(row->chain)), cps, n, &want);
    want.at[n] = have.cuts.at[n] = false;
    if (n && memcmp(want.at, have.cuts.at, n)) {
        for (size_t i = 0; i < n; i++) print_message("%s%s U+%04X\n", want.at[i] ? "|" : " ", have.cuts.at[i] ? "|" : " ", (unsigned)cps[i]);
        fail_msg("%s cuts otherwise (format's cuts at the left, ours at the right)", row->chain);
    }
}

static bool first_of_its_chain(size_t row) {
    size_t i = 0;
    while (kq_pretokenizer_at(i)->stages != kq_pretokenizer_at(row)->stages) i++;
    return i == row;
}

static void every_chain_cuts_as_the_format_says(void **state) {
    (void)state;
    uint32_t cps[MAX];
    size_t n_done = 0;
    for (size_t i = 0; kq_pretokenizer_at(i); i++) {
        const kq_pretokenizer *row = kq_pretokenizer_at(i);
        if (!first_of_its_chain(i)) continue;
        n_done++;
        kq_error e;
        kq_chain *chain;
        kq_splitter splitter;
        if (kq_chain_open(&chain, row->stages, NULL, &e)) fail_msg("%s: %s", row->chain, e.text);
        assert_int_equal(kq_splitter_open(&splitter, chain, &e), KQ_OK);
        for (size_t k = 0; k < 3000; k++) {
            size_t n = random_cps(cps);
            splitter.interpreter = k % 8 == 0;
            compare(row, chain, &splitter, cps, n);
        }
        kq_splitter_close(&splitter);
        kq_chain_close(chain);
    }
    assert_int_equal(n_done, 31);
}

static void every_name_is_there(void **state) {
    (void)state;
    size_t size, n = 0;
    char *file = (char *)golden_read(&size, "pretokenizers.txt");
    for (char *line = strtok(file, "\n"); line; line = strtok(NULL, "\n")) {
        static const struct {
            char letter;
            uint32_t flag;
        } letters[] = {{'I', KQ_PRE_IGNORE_MERGES}, {'B', KQ_PRE_ADD_BOS}, {'S', KQ_PRE_ADD_SEP}, {'c', KQ_PRE_NO_CLEAN}, {'R', KQ_PRE_RAW},
                       {'e', KQ_PRE_ESCAPE}, {'F', KQ_PRE_FORCE_BOS | KQ_PRE_NEWLINES}, {'n', KQ_PRE_NO_DEFAULT_BOS}, {'m', KQ_PRE_NO_MERGES}};
        char name[64], chain[16], flags[16];
        if (sscanf(line, "= %63s %15s %15s", name, chain, flags) != 3) continue;
        n++;
        const kq_pretokenizer *row = kq_pretokenizer_find(name);
        if (!row) fail_msg("%s is missing", name);
        assert_string_equal(row->chain, chain);
        uint32_t want = 0;
        for (size_t i = 0; i < KQ_COUNT(letters); i++) want |= strchr(flags, letters[i].letter) ? letters[i].flag : 0;
        assert_int_equal(row->flags, want);
    }
    free(file);
    assert_int_equal(n, 90);
    assert_null(kq_pretokenizer_at(n));
    assert_null(kq_pretokenizer_find("no such name"));
    assert_null(kq_pretokenizer_find(""));
}

/* Seconds for n classes that repeat a shape, then `last`. */
static double seconds_for(kq_splitter *splitter, uint8_t *classes, size_t n, const char *shape, char last) {
    size_t period = strlen(shape);
    collected c = {0};
    for (size_t k = 0; k < n; k++) classes[k] = (uint8_t)shape[k % period];
    if (last) classes[n - 1] = (uint8_t)last;
    clock_t begin = clock();
    assert_int_equal(kq_splitter_run(splitter, classes, n, collect, &c, NULL), KQ_OK);
    assert_int_equal(c.next, n);
    return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

/* Long runs of everything that a pattern might search again and again: four times the text takes four times as long, not sixteen. */
static double check_time(const kq_pretokenizer *row, kq_splitter *splitter, size_t n, const char *shape, char last) {
    static uint8_t classes[400000];
    double whole = seconds_for(splitter, classes, n, shape, last);
    if (whole < 0.05) return whole; /* a quadratic pattern is far beyond that */
    double quarter = seconds_for(splitter, classes, n / 4, shape, last), again = seconds_for(splitter, classes, n, shape, last);
    if (KQ_MIN(whole, again) > 8 * quarter) fail_msg("%s: %.2f s for %zu of '%s', %.2f s for a quarter", row->chain, whole, n, shape, quarter);
    return whole;
}

static void time_is_linear(void **state) {
    (void)state;
    enum { BLANK = 4 }; /* the first ones, where JAIS2 needs a long run to show */
    static const char *const shapes[] = {" ", "\n", " \n", "\t \r", "a", "A", "aA", "1", "!", "a ", "\x0b", "'", "'s", "  a", "<sentinel:1", "IMGIMGABCD", "/", "\x01",
                                         " x", "!\n", "1 ", "\x81", "\x83", "\x84", "\x85", " \x81", "\x81\x83"}; /* classes, not text */
    double worst[2] = {0};
    for (size_t i = 0; kq_pretokenizer_at(i); i++) {
        const kq_pretokenizer *row = kq_pretokenizer_at(i);
        if (!first_of_its_chain(i)) continue;
        kq_chain *chain;
        kq_splitter splitter;
        assert_int_equal(kq_chain_open(&chain, row->stages, NULL, NULL), KQ_OK);
        assert_int_equal(kq_splitter_open(&splitter, chain, NULL), KQ_OK);
        for (size_t s = 0; s < 3 * KQ_COUNT(shapes); s++) {
            for (size_t interpreter = 0; interpreter < 2; interpreter++) { /* what PCRE2's compiler does well, its interpreter may not */
                splitter.interpreter = interpreter;
                size_t n = (s / 3 < BLANK ? 400000u : 100000u) / (interpreter ? 4 : 1);
                double seconds = check_time(row, &splitter, n, shapes[s / 3], "\0x\x01"[s % 3]);
                worst[interpreter] = KQ_MAX(worst[interpreter], seconds);
            }
        }
        kq_splitter_close(&splitter);
        kq_chain_close(chain);
    }
    printf("slowest: %.3f s compiled, %.3f s interpreted\n", worst[0], worst[1]);
}

/* The class of every code point, as Unicode 15.1 has it. The hash is of the letters N L P M S and - (none), and W for white space, over
 * U+0080 to U+10FFFF; it was computed from the Unicode data files 15.1.0, not by this code. */
static void classes_are_those_of_unicode_15_1(void **state) {
    (void)state;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t cp = 0x80; cp < 0x110000; cp++) hash = (hash ^ (uint8_t)"NLPMS-?W"[kq_unicode_class(cp)]) * UINT64_C(0x100000001b3);
    assert_true(hash == UINT64_C(0xda2791632436335));
}

static void the_byte_alphabet(void **state) {
    (void)state;
    bool seen[0x200] = {0};
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool prints = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        uint32_t cp = kq_byte_to_cp((uint8_t)b);
        assert_int_equal(cp, prints ? b : next++);
        assert_int_equal(kq_cp_to_byte(cp), b);
        seen[cp] = true;
    }
    for (uint32_t cp = 0; cp < 0x200; cp++) {
        if (!seen[cp]) assert_int_equal(kq_cp_to_byte(cp), -1);
    }
}

static void utf8_as_the_reference_reads_it(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, taken;
        uint32_t cp;
    } cases[] = {
        {"a", 1, 1, 'a'}, {"\x80", 1, 1, 0xfffd}, {"\xc0\x80", 2, 2, 0}, {"\xc1\xbf", 2, 2, 0x7f}, {"\xc3", 1, 1, 0xfffd}, {"\xc3\x28", 2, 1, 0xfffd},
        {"\xe0\x80\x80", 3, 3, 0}, {"\xed\xa0\x80", 3, 3, 0xd800}, {"\xe2\x82", 2, 1, 0xfffd}, {"\xf0\x9f\x98\x80", 4, 4, 0x1f600},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff}, {"\xf4\x90\x80\x80", 4, 1, 0xfffd}, {"\xf7\xbf\xbf\xbf", 4, 1, 0xfffd}, {"\xf8\x88\x80\x80", 4, 1, 0xfffd},
        {"\xff", 1, 1, 0xfffd}};
    for (size_t i = 0; i < KQ_COUNT(cases); i++) {
        uint32_t cp;
        assert_int_equal(kq_utf8_decode((const uint8_t *)cases[i].bytes, cases[i].size, &cp), cases[i].taken);
        assert_int_equal(cp, cases[i].cp);
    }
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        uint8_t bytes[4];
        uint32_t again;
        size_t n = kq_utf8_encode(cp, bytes);
        assert_true(kq_utf8_decode(bytes, n, &again) == n && again == cp);
        assert_true(kq_utf8_length(bytes[0]) == n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_those_of_unicode_15_1), cmocka_unit_test(the_byte_alphabet), cmocka_unit_test(utf8_as_the_reference_reads_it),
        cmocka_unit_test(every_name_is_there), cmocka_unit_test(every_chain_cuts_as_the_format_says), cmocka_unit_test(time_is_linear),
    };
    read_patterns();
    find_borders();
    int failures = cmocka_run_group_tests_name("pretokenize", tests, new_seed, NULL);
    for (size_t i = 0; i < n_chains; i++) free(chains[i].text);
    return failures;
}
