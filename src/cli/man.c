/* SPDX-License-Identifier: MIT */
/* kquant(1) in man(7)'s macros, from the tables. */
#include "cli/cli.h"

#include <string.h>

/* Text as roff: a hyphen that people type stays one, and no line begins a request. */
static void put(FILE *out, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\\') {
            fputs("\\e", out);
        } else if (text[i] == '-') {
            fputs("\\-", out);
        } else {
            if ((text[i] == '.' || text[i] == '\'') && (i == 0 || text[i - 1] == '\n')) fputs("\\&", out);
            putc(text[i], out);
        }
    }
}

static void put_line(FILE *out, const char *text) {
    put(out, text, strlen(text));
    putc('\n', out);
}

static void put_paragraphs(FILE *out, const char *text) {
    for (const char *next; (next = strstr(text, "\n\n")) != NULL; text = next + 2) {
        put(out, text, (size_t)(next - text));
        fputs("\n.PP\n", out);
    }
    put_line(out, text);
}

static void put_option(FILE *out, const cli_option *o) {
    if (o->kind == CLI_HEADING) {
        fputs(".PP\n", out);
        put_line(out, o->help);
        return;
    }
    fputs(".TP\n", out);
    const char *list = o->names;
    size_t length;
    bool first = true;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL; first = false) {
        fputs(first ? "\\fB" : ", \\fB", out);
        put(out, word, length);
        fputs("\\fR", out);
    }
    if (o->argument) fprintf(out, " \\fI%s\\fR", o->argument);
    putc('\n', out);
    char text[1024];
    cli_option_text(o, text, sizeof text);
    put_line(out, text);
}

static void put_command(FILE *out, const cli_command *c) {
    fprintf(out, ".SS kquant %s\n", c->name);
    fprintf(out, ".B kquant %s\n", c->name);
    put_line(out, c->usage);
    fputs(".PP\n", out);
    put_paragraphs(out, c->description);
    const char *aliases = c->aliases;
    size_t length;
    for (const char *word; (word = cli_next_word(&aliases, &length)) != NULL;) {
        fprintf(out, ".PP\n.B kquant %.*s\nis the same command.\n", (int)length, word);
    }
    for (size_t i = 0; i < c->n_options; i++) put_option(out, &c->options[i]);
    if (!c->examples) return;
    fputs(".PP\n.nf\n", out);
    put_line(out, c->examples);
    fputs(".fi\n", out);
}

void cli_help_man(FILE *out) {
    fputs(".TH KQUANT 1 \"\" \"kquant " KQ_VERSION "\" \"User Commands\"\n"
          ".SH NAME\nkquant \\- run language models in GGUF's block\\-quantised formats\n"
          ".SH SYNOPSIS\n.B kquant\n\\fICOMMAND\\fR [\\fIoptions\\fR]\n"
          ".SH DESCRIPTION\nStandard output carries the result of a command alone; progress, notes, statistics and errors go to standard\n"
          "error. Every command understands\n.B \\-h\nand\n.BR \\-\\-help .\n"
          "A long option may be written\n.B \\-\\-option=value\nas well; of an option given twice the last counts;\n"
          ".B \\-\\-\nends the options.\n"
          ".SH COMMANDS\n",
          out);
    for (size_t i = 0; cli_commands[i]; i++) put_command(out, cli_commands[i]);
    fputs(".SH EXIT STATUS\n.TP\n0\nfine\n.TP\n1\nfailed\n.TP\n2\nthe command line is wrong\n"
          ".TP\n3\na file is damaged, or asks for what this version does not know\n.TP\n130\ninterrupted\n"
          ".SH ENVIRONMENT\n.TP\n.B COLUMNS\nwidth of tables and bars (otherwise the terminal's, or 80)\n"
          ".TP\n.B NO_COLOR\nwhen set, no faint text\n"
          ".SH FILES\n.TP\n.I share/kquant/tale\\-q4_k_m.gguf\nthe default model, found relative to the program\n", out);
}
