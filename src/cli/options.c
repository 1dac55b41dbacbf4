/* SPDX-License-Identifier: MIT */
/* Parsing by table: every spelling, range and default is in the rows of cli_option.
 *
 * getopt_long is not used: it takes abbreviations (so that a new option can break an old script), knows nothing of llama.cpp's
 * long names behind one dash, and cannot say which option was nearly meant. The grammar here is smaller: `-o VALUE`, `-oVALUE`,
 * `--opt VALUE`, `--opt=VALUE`, and `--` before arguments that begin with a dash. The last of two wins. `_` in a long name reads as `-`. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_common_options[] = {
    {.names = "-h --help", .kind = CLI_FLAG, .offset = offsetof(cli_values, help), .help = "show this help"},
};
const size_t cli_n_common_options = CLI_COUNT(cli_common_options);

const cli_option *cli_option_at(const cli_command *c, size_t i) {
    if (i < c->n_options) return &c->options[i];
    i -= c->n_options;
    return i < cli_n_common_options ? &cli_common_options[i] : NULL;
}

const char *cli_next_word(const char **list, size_t *length) {
    if (!*list) return NULL;
    const char *word = *list + strspn(*list, " ");
    *length = strcspn(word, " ");
    *list = word + *length;
    return *length ? word : NULL;
}

static char same_dash(char c) { return c == '_' ? '-' : c; }

static bool same_name(const char *a, size_t a_size, const char *b, size_t b_size) {
    if (a_size != b_size) return false;
    bool is_long = a_size > 2 && !memcmp(a, "--", 2);
    for (size_t i = 0; i < a_size; i++) {
        if (a[i] != b[i] && !(is_long && same_dash(a[i]) == same_dash(b[i]))) return false;
    }
    return true;
}

static bool has_name(const char *list, const char *name, size_t size) {
    size_t length;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL;) {
        if (same_name(word, length, name, size)) return true;
    }
    return false;
}

static const cli_option *find(const cli_command *c, const char *name, size_t size) {
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)) != NULL; i++) {
        if (o->kind != CLI_HEADING && (has_name(o->names, name, size) || has_name(o->aliases, name, size))) return o;
    }
    return NULL;
}

/* A flag by the opposite of its name: --no-x of --x, --x of --no-x. */
static const cli_option *find_opposite(const cli_command *c, const char *name, size_t size) {
    char other[64];
    if (size < 3 || size > sizeof other - 4 || memcmp(name, "--", 2)) return NULL;
    const cli_option *o;
    if (size > 5 && (!memcmp(name, "--no-", 5) || !memcmp(name, "--no_", 5))) {
        memcpy(other, "--", 2);
        memcpy(other + 2, name + 5, size - 5);
        o = find(c, other, size - 3);
    } else {
        memcpy(other, "--no-", 5);
        memcpy(other + 5, name + 2, size - 2);
        o = find(c, other, size + 3);
    }
    return o && o->kind == CLI_FLAG && o->offset != offsetof(cli_values, help) ? o : NULL;
}

/* `-oVALUE`: the option -o, when it takes a value. `-model` is rather --model with a dash too few, which nobody should have to find out
 * from a missing file `odel`. */
static const cli_option *find_attached(const cli_command *c, const char *name) {
    char other[64];
    if (name[1] == '-' || strlen(name) < 3) return NULL;
    int n = snprintf(other, sizeof other, "-%s", name);
    if ((size_t)n < sizeof other && find(c, other, (size_t)n)) return NULL;
    const cli_option *o = find(c, name, 2);
    return o && o->kind != CLI_FLAG ? o : NULL;
}

size_t cli_distance(const char *a, const char *b, size_t b_size) {
    enum { LONGEST = 63 };
    size_t n = CLI_MIN(strlen(a), (size_t)LONGEST), m = CLI_MIN(b_size, (size_t)LONGEST);
    size_t d[3][LONGEST + 1]; /* rows i - 2, i - 1 and i of the usual table, by i mod 3 */
    for (size_t j = 0; j <= m; j++) d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = d[i % 3], *up = d[(i + 2) % 3], *upper = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            bool same = same_dash(a[i - 1]) == same_dash(b[j - 1]);
            size_t best = up[j - 1] + !same;
            best = CLI_MIN(best, up[j] + 1);
            best = CLI_MIN(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = CLI_MIN(best, upper[j - 2] + 1);
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

/* Of `list` the word nearest to `name`, when it is nearer than *best; of two equally near, the one that begins alike for longer. */
static void consider(const char *list, const char *name, size_t *best, const char **nearest, size_t *nearest_size) {
    size_t length;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL;) {
        size_t alike = 0;
        while (alike < length && name[alike] && name[alike] == word[alike]) alike++;
        size_t score = cli_distance(name, word, length) * 64 + 63 - CLI_MIN(alike, (size_t)63);
        if (name[alike] == 0) score /= 2; /* an unfinished name */
        if (score >= *best) continue;
        *best = score;
        *nearest = word;
        *nearest_size = length;
    }
}

static bool unknown_option(const cli_command *c, const char *name, size_t size, char *message, size_t message_size) {
    char given[64];
    snprintf(given, sizeof given, "%.*s", (int)CLI_MIN(size, sizeof given - 1), name);
    const char *nearest = "--help";
    size_t best = SIZE_MAX, nearest_size = 6;
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)) != NULL; i++) {
        consider(o->names, given, &best, &nearest, &nearest_size);
        consider(o->aliases, given, &best, &nearest, &nearest_size);
    }
    snprintf(message, message_size, "unknown option '%s'; did you mean '%.*s'?", given, (int)nearest_size, nearest);
    return false;
}

const cli_command *cli_command_find(const char *name) {
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *c = cli_commands[i];
        if (!strcmp(c->name, name) || has_name(c->aliases, name, strlen(name))) return c;
    }
    return NULL;
}

/* One edit in three letters, or an unfinished name. */
static bool is_near(const char *name, const char *word, size_t size) {
    size_t length = strlen(name);
    if (length == 0) return false;
    return (length < size && !memcmp(name, word, length)) || cli_distance(name, word, size) <= CLI_MAX(length / 3, (size_t)1);
}

cli_hint cli_command_hint(const char *name) {
    const char *nearest = NULL, *word = NULL;
    size_t best = SIZE_MAX, size = 0;
    for (size_t i = 0; cli_commands[i]; i++) {
        size_t before = best;
        consider(cli_commands[i]->name, name, &best, &word, &size);
        consider(cli_commands[i]->aliases, name, &best, &word, &size);
        if (best < before) nearest = cli_commands[i]->name;
    }
    cli_hint hint;
    if (word && is_near(name, word, size)) {
        snprintf(hint.text, sizeof hint.text, "; did you mean '%s'?", nearest);
        return hint;
    }
    size_t n = (size_t)snprintf(hint.text, sizeof hint.text, "; there are");
    for (size_t i = 0; cli_commands[i] && n < sizeof hint.text; i++) {
        n += (size_t)snprintf(hint.text + n, sizeof hint.text - n, "%s %s", i ? "," : "", cli_commands[i]->name);
    }
    return hint;
}

bool cli_parse_whole(const char *text, int64_t min, int64_t max, int64_t *out) {
    size_t digits = strspn(text + (*text == '-'), "0123456789");
    if (digits == 0 || text[(*text == '-') + digits]) return false;
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (errno || v < min || v > max) return false;
    *out = v;
    return true;
}

static bool parse_number(const char *text, double min, double max, double *out) {
    char *end;
    if (!*text || text[strspn(text, "0123456789.eE+-")]) return false; /* no spaces, hexadecimal, "nan" or "inf" */
    double v = strtod(text, &end);
    if (*end || !isfinite(v) || v < min || v > max) return false;
    *out = v;
    return true;
}

/* Stores `text` as the value of an option. `name` is how the user spelled it. */
static bool store(const cli_option *o, const char *name, size_t name_size, const char *text, void *values, char *message, size_t size) {
    char *at = (char *)values + o->offset;
    int n = (int)name_size;
    switch (o->kind) {
    case CLI_HEADING: return true;
    case CLI_FLAG: *(bool *)at = !strcmp(text, "true"); return true;
    case CLI_WHOLE:
        if (cli_parse_whole(text, (int64_t)o->min, (int64_t)o->max, (int64_t *)(void *)at)) return true;
        snprintf(message, size, "%.*s: '%s' is not a whole number from %.0f to %.0f", n, name, text, o->min, o->max);
        return false;
    case CLI_NUMBER:
        if (parse_number(text, o->min, o->max, (double *)(void *)at)) return true;
        snprintf(message, size, "%.*s: '%s' is not a number from %g to %g", n, name, text, o->min, o->max);
        return false;
    case CLI_TEXT: *(const char **)(void *)at = text; return true;
    case CLI_TEXTS: {
        cli_texts *list = (cli_texts *)(void *)at;
        if (list->n < (int)CLI_COUNT(list->items)) {
            list->items[list->n++] = text;
            return true;
        }
        snprintf(message, size, "%.*s: given more than %zu times", n, name, CLI_COUNT(list->items));
        return false;
    }
    case CLI_FILE:
        if (!*text) {
            snprintf(message, size, "%.*s: the name of the file is empty", n, name);
            return false;
        }
        *(const char **)(void *)at = text;
        return true;
    case CLI_CHOICE: {
        const char *list = o->choices;
        size_t length;
        int index = 0;
        for (const char *word; (word = cli_next_word(&list, &length)) != NULL; index++) {
            if (strlen(text) == length && !memcmp(text, word, length)) {
                *(int *)(void *)at = index;
                return true;
            }
        }
        snprintf(message, size, "%.*s: '%s' is none of: %s", n, name, text, o->choices);
        return false;
    }
    }
    return false;
}

/* One option at argv[*i]; moves *i to the last argument that it used. */
static bool parse_option(const cli_command *c, int argc, char **argv, int *i, void *values, char *message, size_t message_size) {
    const char *name = argv[*i], *equals = !strncmp(name, "--", 2) ? strchr(name, '=') : NULL;
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option *o = find(c, name, size);
    const char *text = "true";
    if (!o) {
        o = find_opposite(c, name, size);
        text = "false";
    }
    const char *attached = NULL;
    if (!o && (o = find_attached(c, name)) != NULL) {
        attached = name + 2;
        size = 2;
    }
    if (!o) return unknown_option(c, name, size, message, message_size);
    if (attached) {
        text = attached;
    } else if (o->kind == CLI_FLAG) {
        if (equals) {
            snprintf(message, message_size, "%.*s takes no value", (int)size, name);
            return false;
        }
    } else if (equals) {
        text = equals + 1;
    } else if (*i + 1 < argc) {
        text = argv[++*i];
    } else {
        snprintf(message, message_size, "%s needs a value: %s %s", name, name, o->argument);
        return false;
    }
    return store(o, name, size, text, values, message, message_size);
}

bool cli_parse(const cli_command *c, int argc, char **argv, void *values, char *message, size_t message_size) {
    memset(values, 0, c->values_size);
    cli_values *v = values;
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)) != NULL; i++) {
        if (o->fallback && !store(o, o->names, strlen(o->names), o->fallback, values, message, message_size)) return false;
    }
    v->args = argv;
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        if (!options_end && !strcmp(word, "--")) {
            options_end = true;
        } else if (!options_end && word[0] == '-' && word[1]) {
            if (!parse_option(c, argc, argv, &i, values, message, message_size)) return false;
            v->n_options++;
            if (v->help) return true;
        } else if (v->n_args < c->max_args) {
            argv[v->n_args++] = word; /* never beyond i, so nothing unread is lost */
        } else {
            snprintf(message, message_size, "unexpected argument '%s'%s", word,
                     strstr(c->usage, "-p TEXT") ? "; a text comes after -p, in quotes" : "");
            return false;
        }
    }
    return true;
}
