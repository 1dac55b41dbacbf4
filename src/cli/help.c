/* SPDX-License-Identifier: MIT */
/* Help on a terminal, from the tables. */
#include "cli/cli.h"

#include <string.h>

enum { WIDTH = 80, HELP_COLUMN = 27 };

void cli_wrap(FILE *out, const char *text, int column, int indent, int width) {
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " \n"), space = strspn(text + length, " \n");
        if (length > 0) {
            if (!first && column + 1 + (int)length > width) {
                fprintf(out, "\n%*s", indent, "");
                column = indent;
                first = true;
            }
            fprintf(out, "%s%.*s", first ? "" : " ", (int)length, text);
            column += (int)length + !first;
            first = false;
        }
        text += length;
        if (!strncmp(text, "\n\n", 2)) { /* a paragraph ends */
            fprintf(out, "\n\n%*s", indent, "");
            column = indent;
            first = true;
        }
        text += space;
    }
    putc('\n', out);
}

/* "-n, --predict N" */
static void option_title(const cli_option *o, char *text, size_t size) {
    const char *list = o->names;
    size_t length, n = 0;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL && n < size;) {
        n += (size_t)snprintf(text + n, size - n, "%s%.*s", n ? ", " : word[1] == '-' ? "    " : "", (int)length, word);
    }
    if (o->argument && n < size) snprintf(text + n, size - n, " %s", o->argument);
}

void cli_option_text(const cli_option *o, char *text, size_t size) {
    char facts[512] = "";
    size_t n = 0;
#define FACT(...) n += (size_t)snprintf(facts + n, sizeof facts - n, __VA_ARGS__)
#define NEXT (n ? "; " : " (")
    if (o->kind == CLI_NUMBER) FACT("%s%g to %g", NEXT, o->min, o->max);
    if (o->kind == CLI_WHOLE && o->max < INT32_MAX) FACT("%s%.0f to %.0f", NEXT, o->min, o->max);
    if (o->kind == CLI_CHOICE) {
        const char *list = o->choices;
        size_t length;
        FACT("%s", NEXT);
        bool first = true;
        for (const char *word; (word = cli_next_word(&list, &length)) != NULL; first = false) {
            FACT("%s%.*s", first ? "" : " or ", (int)length, word);
        }
    }
    if (o->fallback) FACT("%sdefault %s", NEXT, o->fallback);
    if (o->aliases) {
        const char *list = o->aliases;
        size_t length;
        FACT("%salso ", NEXT);
        bool first = true;
        for (const char *word; (word = cli_next_word(&list, &length)) != NULL; first = false) {
            FACT("%s%.*s", first ? "" : ", ", (int)length, word);
        }
    }
#undef FACT
#undef NEXT
    snprintf(text, size, "%s%s%s", o->help, facts, n ? ")" : "");
}

static void usage_line(const cli_command *c, FILE *out) {
    char start[64];
    int n = snprintf(start, sizeof start, "usage: kquant %s%s", c->name, c->usage[0] ? " " : "");
    fputs(start, out);
    cli_wrap(out, c->usage, n, n, WIDTH);
}

void cli_help_short(const cli_command *c, FILE *out) {
    usage_line(c, out);
    fprintf(out, "%s. See: kquant help %s\n", c->summary, c->name);
}

void cli_help_command(const cli_command *c, FILE *out) {
    usage_line(c, out);
    size_t length;
    const char *aliases = c->aliases;
    for (const char *word; (word = cli_next_word(&aliases, &length)) != NULL;) fprintf(out, "   or: kquant %.*s ...\n", (int)length, word);
    putc('\n', out);
    cli_wrap(out, c->description, 0, 0, WIDTH);
    const cli_option *o;
    bool headings = c->n_options > 0 && c->options[0].kind == CLI_HEADING;
    if (!headings) fputs("\nOptions\n", out);
    for (size_t i = 0; (o = cli_option_at(c, i)) != NULL; i++) {
        if (o->kind == CLI_HEADING) {
            fprintf(out, "\n%s\n", o->help);
            continue;
        }
        if (headings && i == c->n_options) putc('\n', out);
        char title[256], text[1024];
        option_title(o, title, sizeof title);
        cli_option_text(o, text, sizeof text);
        int n = fprintf(out, "  %s", title);
        if (n > HELP_COLUMN - 2) {
            putc('\n', out);
            n = 0;
        }
        fprintf(out, "%*s", HELP_COLUMN - n, "");
        cli_wrap(out, text, HELP_COLUMN, HELP_COLUMN, WIDTH);
    }
    if (!c->examples) return;
    fputs("\nExamples\n  ", out);
    for (const char *p = c->examples; *p; p++) {
        putc(*p, out);
        if (*p == '\n') fputs("  ", out);
    }
    putc('\n', out);
}

void cli_help_all(FILE *out) {
    fputs("usage: kquant COMMAND [options]\n\nRuns language models in GGUF's block-quantised formats.\n\nCommands\n", out);
    for (size_t i = 0; cli_commands[i]; i++) fprintf(out, "  %-12s%s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\nkquant help COMMAND shows the options of a command.\n"
          "kquant run tells a story with the model that comes with kquant.\n", out);
}
