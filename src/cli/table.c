/* SPDX-License-Identifier: MIT */
/* Text for people: safe to show, of known width, in tables that fit. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The character at text, whose length is returned; *width is its columns, or -1 when it must not reach a terminal. */
static size_t next_character(const char *text, size_t size, int *width) {
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &c);
    *width = -1;
    if (n <= 0) return 1;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC: /* controls, and the marks that turn the direction of text */
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return (size_t)n;
    default: *width = utf8proc_charwidth(c); return (size_t)n;
    }
}

int cli_width(const char *text) {
    int total = 0;
    for (size_t at = 0, size = strlen(text); at < size;) {
        int width;
        at += next_character(text + at, size - at, &width);
        total += CLI_MAX(width, 0);
    }
    return total;
}

/* Bytes of the longest beginning of text that is at most `width` columns wide. */
static size_t fitting(const char *text, int width) {
    size_t at = 0, size = strlen(text);
    while (at < size) {
        int w;
        size_t n = next_character(text + at, size - at, &w);
        if ((width -= CLI_MAX(w, 0)) < 0) break;
        at += n;
    }
    return at;
}

static void cut(char *text, int width, bool middle) {
    int whole = cli_width(text), dots = CLI_MIN(width, 3), keep = width - dots;
    if (whole <= width) return;
    size_t head = fitting(text, middle ? keep - keep / 2 : keep);
    size_t tail = strlen(text);
    if (middle) {
        tail = fitting(text, whole - keep / 2);
        int w;
        if (cli_width(text + tail) > keep / 2)
            tail += next_character(text + tail, strlen(text + tail), &w); /* a wide character in between */
    }
    char *rest = cli_alloc(strlen(text + tail) + 1, 1);
    memcpy(rest, text + tail, strlen(text + tail));
    snprintf(text + head, 4 + strlen(rest), "%.*s%s", dots, "...", rest);
    free(rest);
}

char *cli_show(const char *data, size_t size, int width, bool middle) {
    if (width > 0 && !middle) size = CLI_MIN(size, (size_t)width * 8 + 8); /* of a long text only the beginning is wanted */
    char *text = cli_alloc(size * 4 + 4, 1), *to = text;
    for (size_t at = 0; at < size;) {
        int w;
        size_t n = next_character(data + at, size - at, &w);
        if (w >= 0) {
            memcpy(to, data + at, n);
            to += n;
        } else if (data[at] == '\n' || data[at] == '\t' || data[at] == '\r') {
            *to++ = '\\';
            *to++ = data[at] == '\n' ? 'n' : data[at] == '\t' ? 't' : 'r';
        } else {
            for (size_t i = 0; i < n; i++, to += 4) snprintf(to, 5, "\\x%02x", (unsigned char)data[at + i]);
        }
        at += n;
    }
    *to = 0;
    if (width > 0) cut(text, width, middle);
    return text;
}

cli_number cli_bytes(uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    cli_number n;
    if (bytes < 1024) {
        snprintf(n.text, sizeof n.text, "%u B", (unsigned)bytes);
        return n;
    }
    double v = (double)bytes / 1024;
    size_t unit = 0;
    for (; v >= 1023.995 && unit + 1 < CLI_COUNT(units); unit++) v /= 1024;
    snprintf(n.text, sizeof n.text, "%.2f %s", v, units[unit]);
    return n;
}

cli_number cli_count(uint64_t count) {
    static const char *const units[] = {"K", "M", "B", "T", "Q"};
    cli_number n;
    if (count < 1000) {
        snprintf(n.text, sizeof n.text, "%u", (unsigned)count);
        return n;
    }
    double v = (double)count / 1000;
    size_t unit = 0;
    for (; v >= 999.995 && unit + 1 < CLI_COUNT(units); unit++) v /= 1000;
    snprintf(n.text, sizeof n.text, "%.2f %s", v, units[unit]);
    return n;
}

void cli_table_row(cli_table *t, const char *const *cells) {
    if (t->n_rows == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 16;
        t->cells = cli_grow(t->cells, t->capacity * t->n_columns, sizeof *t->cells);
    }
    char **row = t->cells + t->n_rows++ * t->n_columns;
    for (size_t i = 0; i < t->n_columns; i++) row[i] = cli_show(cells[i], strlen(cells[i]), 0, false);
}

static void print_row(const cli_table *t, FILE *out, const int *widths, char *const *cells) {
    for (size_t i = 0; i < t->n_columns; i++) {
        char *text = cli_show(cells[i], strlen(cells[i]), CLI_MAX(widths[i], 1), true);
        int pad = widths[i] - cli_width(text);
        if (i > 0) fputs("  ", out);
        if (t->columns[i].right) fprintf(out, "%*s", pad, "");
        fputs(text, out);
        if (!t->columns[i].right && i + 1 < t->n_columns) fprintf(out, "%*s", pad, "");
        free(text);
    }
    putc('\n', out);
}

void cli_table_print(const cli_table *t, FILE *out, int width) {
    enum { NARROWEST = 8 };
    int *widths = cli_alloc(t->n_columns, sizeof *widths), total = -2;
    char **titles = cli_alloc(t->n_columns, sizeof *titles);
    for (size_t i = 0; i < t->n_columns; i++) {
        titles[i] = cli_show(t->columns[i].title, strlen(t->columns[i].title), 0, false);
        widths[i] = cli_width(titles[i]);
        for (size_t r = 0; r < t->n_rows; r++) widths[i] = CLI_MAX(widths[i], cli_width(t->cells[r * t->n_columns + i]));
        total += widths[i] + 2;
    }
    for (size_t i = 0; i < t->n_columns && total > width; i++) {
        if (!t->columns[i].flexible) continue;
        int narrower = CLI_MAX(CLI_MIN(total - width, widths[i] - NARROWEST), 0);
        widths[i] -= narrower;
        total -= narrower;
    }
    print_row(t, out, widths, titles);
    for (size_t r = 0; r < t->n_rows; r++) print_row(t, out, widths, t->cells + r * t->n_columns);
    for (size_t i = 0; i < t->n_columns; i++) free(titles[i]);
    free(titles);
    free(widths);
}

void cli_table_free(cli_table *t) {
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->n_rows = t->capacity = 0;
}

cli_number cli_rate(double rate) {
    cli_number n;
    int digits = rate < 0.9995 ? 3 : rate < 9.995 ? 2 : rate < 99.95 ? 1 : 0;
    snprintf(n.text, sizeof n.text, "%.*f", digits, CLI_MIN(rate, 1e15));
    return n;
}
