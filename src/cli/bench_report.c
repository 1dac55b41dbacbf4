/* SPDX-License-Identifier: MIT */
/* The lines of kquant bench: a table for people, Markdown and CSV with every column, JSON. */
#include "cli/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void bench_add(bench_report *r, const bench_line *line) {
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? r->capacity * 2 : 64;
        r->lines = cli_grow(r->lines, r->capacity, sizeof *r->lines);
    }
    r->lines[r->n++] = *line;
}

void bench_report_free(bench_report *r) {
    free(r->lines);
    *r = (bench_report){0};
}

/* The cells of a line, in the order of the columns. */
enum { TEST, CODEC, M, N, K, EXPERTS, THREADS, PLACE, SPEED, UNIT, ROOF, ROOF_NAME, SHARE, PEER, RATIO, NOTE, N_CELLS };
static const char *const titles[N_CELLS] = {"test", "codec", "M", "N", "K", "experts", "t", "from", "speed", "unit", "roof", "of", "share", "peer",
                                            "ratio", "note"};
typedef struct cells {
    cli_number text[N_CELLS];
} cells;

static void put_whole(cli_number *out, uint64_t v) {
    if (v) snprintf(out->text, sizeof out->text, "%" PRIu64, v);
}

static void put_word(cli_number *out, const char *word) { snprintf(out->text, sizeof out->text, "%s", word); }

static void put_rate(cli_number *out, double v) {
    if (v > 0) *out = cli_rate(v);
}

static bool is_model(const bench_line *l) { return !strcmp(l->test, "pp") || !strcmp(l->test, "tg"); }

static cells cells_of(const bench_line *l) {
    cells c = {0};
    put_word(&c.text[TEST], l->test);
    if (is_model(l)) snprintf(c.text[TEST].text, sizeof c.text[TEST].text, "%s%" PRIu64, l->test, l->m);
    else put_whole(&c.text[M], l->m);
    put_word(&c.text[CODEC], l->codec);
    put_whole(&c.text[N], l->n);
    put_whole(&c.text[K], l->k);
    if (l->experts) snprintf(c.text[EXPERTS].text, sizeof c.text[EXPERTS].text, "%" PRIu64 "/%" PRIu64, l->used, l->experts);
    put_whole(&c.text[THREADS], (uint64_t)l->threads);
    put_word(&c.text[PLACE], l->place);
    put_rate(&c.text[SPEED], l->speed);
    put_word(&c.text[UNIT], l->unit);
    put_rate(&c.text[ROOF], l->roof);
    put_word(&c.text[ROOF_NAME], l->roof_name);
    if (l->roof > 0) snprintf(c.text[SHARE].text, sizeof c.text[SHARE].text, "%.0f %%", 100 * l->speed / l->roof);
    put_rate(&c.text[PEER], l->peer);
    put_rate(&c.text[RATIO], l->peer > 0 ? l->speed / l->peer : 0);
    put_word(&c.text[NOTE], l->note);
    return c;
}

/* Markdown and CSV: all columns that hold something. */
static void print_rows(const bench_report *r, bool md) {
    bool used[N_CELLS] = {false};
    for (size_t i = 0; i < r->n; i++) {
        cells c = cells_of(&r->lines[i]);
        for (int k = 0; k < N_CELLS; k++) used[k] |= c.text[k].text[0] != 0 || !md;
    }
    for (size_t i = 0; i < r->n + 1 + md; i++) {
        cells c = i > md ? cells_of(&r->lines[i - 1 - md]) : (cells){0};
        const char *between = "";
        for (int k = 0; k < N_CELLS; k++) {
            if (!used[k]) continue;
            bool words = k == TEST || k == CODEC || k == PLACE || k == UNIT || k == ROOF_NAME || k == NOTE;
            const char *text = i == 0 ? titles[k] : md && i == 1 ? words ? "---" : "---:" : c.text[k].text;
            if (md) printf("| %s ", text);
            else printf("%s%s", between, text);
            between = ",";
        }
        puts(md ? "|" : "");
    }
}

/* What shapes the products have, a line a test; the table has no room for it. */
static void print_shapes(const bench_report *r) {
    for (size_t i = 0; i < r->n; i++) {
        const bench_line *l = &r->lines[i];
        bool again = !l->n || !strcmp(l->place, "cache");
        for (size_t j = 0; j < i && !again; j++) again = !strcmp(r->lines[j].test, l->test) && r->lines[j].n == l->n && r->lines[j].k == l->k;
        if (again) continue;
        printf("%s: weights [%" PRIu64 ", %" PRIu64 "]", l->test, l->n, l->k);
        if (l->experts) printf(", %" PRIu64 " of %" PRIu64 " experts", l->used, l->experts);
        puts("");
    }
}

/* 80 columns: speed and roof carry their units, shapes are told below. */
static void print_table(const bench_report *r, bool peer) {
    static const cli_column columns[] = {
        {.title = "test"}, {.title = "codec"}, {.title = "M", .right = true}, {.title = "t", .right = true}, {.title = "from"},
        {.title = "speed", .right = true}, {.title = "roof", .right = true}, {.title = "share", .right = true},
        {.title = "peer", .right = true}, {.title = "ratio", .right = true},
    };
    cli_table t = {.columns = columns, .n_columns = peer ? CLI_COUNT(columns) : 8};
    for (size_t i = 0; i < r->n; i++) {
        cells c = cells_of(&r->lines[i]);
        char speed[80], roof[80];
        snprintf(speed, sizeof speed, "%s %s", c.text[SPEED].text, c.text[UNIT].text);
        snprintf(roof, sizeof roof, "%s %s", c.text[ROOF].text, c.text[ROOF_NAME].text);
#define CELL(k) (c.text[k].text[0] ? c.text[k].text : "-")
        const char *row[] = {CELL(TEST), CELL(CODEC), CELL(M), CELL(THREADS), CELL(PLACE), speed, c.text[ROOF].text[0] ? roof : "-",
                             CELL(SHARE), CELL(PEER), CELL(RATIO)};
#undef CELL
        cli_table_row(&t, row);
    }
    cli_table_print(&t, stdout, cli_columns(stdout));
    cli_table_free(&t);
}

static void print_json(const bench_report *r, const bench_values *v) {
    cli_json j = {.out = stdout};
    cli_json_object(&j, NULL);
    cli_json_string(&j, "version", kq_version());
    cli_json_i64(&j, "repetitions", v->repetitions);
    cli_json_i64(&j, "megabytes", v->megabytes);
    cli_json_string(&j, "mode", v->exact ? "exact" : "fast");
    if (v->peer) cli_json_string(&j, "peer", v->peer);
    cli_json_array(&j, "lines");
    for (size_t i = 0; i < r->n; i++) {
        const bench_line *l = &r->lines[i];
        cells c = cells_of(l);
        cli_json_object(&j, NULL);
        cli_json_string(&j, "test", c.text[TEST].text);
        if (l->codec[0]) cli_json_string(&j, "codec", l->codec);
        if (l->m && !is_model(l)) cli_json_u64(&j, "m", l->m);
        if (l->n) cli_json_u64(&j, "n", l->n);
        if (l->k) cli_json_u64(&j, "k", l->k);
        if (l->experts) {
            cli_json_u64(&j, "experts", l->experts);
            cli_json_u64(&j, "used", l->used);
        }
        cli_json_i64(&j, "threads", l->threads);
        if (l->place[0]) cli_json_string(&j, "from", l->place);
        cli_json_f64(&j, "seconds", l->seconds);
        cli_json_f64(&j, "speed", l->speed);
        cli_json_string(&j, "unit", l->unit);
        if (l->roof > 0) {
            cli_json_string(&j, "bound", l->roof_name);
            cli_json_f64(&j, "roof", l->roof);
            cli_json_f64(&j, "share", l->speed / l->roof);
        }
        if (l->peer > 0) {
            cli_json_f64(&j, "peer", l->peer);
            cli_json_f64(&j, "ratio", l->speed / l->peer);
        }
        if (l->note[0]) cli_json_string(&j, "note", l->note);
        cli_json_end(&j, '}');
    }
    cli_json_end(&j, ']');
    cli_json_end(&j, '}');
}

void bench_print(const bench_report *r, const bench_values *v) {
    if (v->json || v->format == BENCH_JSON) {
        print_json(r, v);
    } else if (v->format != BENCH_TABLE) {
        print_rows(r, v->format == BENCH_MD);
    } else {
        print_table(r, v->peer != NULL);
        puts("");
        print_shapes(r);
        printf("Medians of %d, in turns with the roof%s.\n", (int)v->repetitions, v->peer ? " and the peer" : "");
    }
}
