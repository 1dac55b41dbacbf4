/* SPDX-License-Identifier: MIT */
/* What quantize prints: the table of tensors, JSON, what an importance matrix does not cover, and how long it would take. */
#include "cli/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double bits_per_weight(uint64_t bytes, uint64_t weights) { return weights ? (double)bytes * 8 / (double)weights : 0; }
static const char *codec_name(kq_codec codec) { return kq_codec_describe(codec)->name; }

static uint64_t source_bytes(const kq_quant_plan *p) {
    uint64_t sum = 0; /* they lie in files, or are made of what does */
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) sum += kq_quant_plan_at(p, i)->tensor->bytes;
    return sum;
}

static uint64_t all_weights(const kq_quant_plan *p) {
    uint64_t sum = 0;
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) sum += kq_quant_plan_at(p, i)->tensor->weights;
    return sum;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

static void print_duration(double seconds) {
    int s = seconds < 1e8 ? (int)(seconds + 0.5) : 100000000;
    if (s >= 3600) printf("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else if (s >= 100) printf("%d:%02d", s / 60, s % 60);
    else printf("%s s", cli_rate(seconds).text);
}

static void print_totals(const cli_quantized *q) {
    const kq_quant_plan *p = q->plan;
    uint64_t weights = all_weights(p), bytes = kq_quant_plan_tensor_bytes(p);
    printf("\n%s: %s weights in %zu tensors\n%s to %s, %.2f bits per weight\n", q->what, cli_count(weights).text,
           kq_quant_plan_size(p), cli_bytes(source_bytes(p)).text, cli_bytes(bytes).text, bits_per_weight(bytes, weights));
    const kq_quant_choice *worst = NULL;
    double most = 0;
    for (size_t i = 0; q->made && i < kq_quant_plan_size(p); i++) {
        if (q->made[i].error <= most) continue;
        most = q->made[i].error;
        worst = kq_quant_plan_at(p, i);
    }
    if (worst) {
        char *name = cli_show(worst->tensor->name.data, worst->tensor->name.size, 40, true);
        printf("largest error: %.3g %%, of %s\n", sqrt(most) * 100, name);
        free(name);
    }
    if (q->output) {
        char *name = cli_show(q->output, strlen(q->output), 50, true);
        if (q->checkpoint) printf("%s: a checkpoint with %s of tensors\n", name, cli_bytes(bytes).text);
        else printf("%s: %s\n", name, cli_bytes(kq_quant_plan_file_bytes(p)).text);
        free(name);
    }
    fputs(q->made ? "took " : "would take about ", stdout);
    print_duration(q->seconds);
    printf(" with %d thread%s\n", q->threads, q->threads == 1 ? "" : "s");
}

static bool is_target(const kq_quant_plan *p) {
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
        if (kq_quant_plan_at(p, i)->error >= 0) return true;
    }
    return false;
}

/* What a target chose, and what stood against more: tensors that are settled without it show no error. */
static void print_target(const kq_quant_plan *p) {
    static const cli_column columns[] = {{"tensor", false, true}, {.title = "to"}, {"error", true, false}, {"counts", true, false},
                                         {.title = "next"}, {"error", true, false}, {"for", true, false}};
    cli_table table = {.columns = columns, .n_columns = CLI_COUNT(columns)};
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) {
        const kq_quant_choice *c = kq_quant_plan_at(p, i);
        char *name = cli_show(c->tensor->name.data, c->tensor->name.size, 0, true), error[24] = "-", counts[24] = "-", next[24] = "-";
        if (c->error >= 0) {
            snprintf(error, sizeof error, "%.2f %%", sqrt(c->error) * 100);
            snprintf(counts, sizeof counts, "%g x", c->counted);
        }
        bool more = c->error >= 0 && c->next_bytes > 0;
        if (more) snprintf(next, sizeof next, "%.2f %%", sqrt(c->next_error) * 100);
        cli_table_row(&table, (const char *[]){name, c->copied ? "-" : codec_name(c->codec), error, counts, more ? codec_name(c->next) : "-",
                                               next, more ? cli_bytes(c->next_bytes).text : "-"});
        free(name);
    }
    cli_table_print(&table, stdout, cli_columns(stdout));
    cli_table_free(&table);
}

void cli_quantized_table(const cli_quantized *q) {
    static const cli_column columns[] = {{"tensor", false, true}, {.title = "from"}, {.title = "to"}, {"size", true, false},
                                         {"bits/weight", true, false}, {"error", true, false}};
    static const cli_column planned[] = {{.title = "tensor"}, {.title = "from"}, {.title = "to"}, {"size", true, false},
                                         {"bpw", true, false}, {"because", false, true}};
    enum { NAME_BESIDE_REASON = 32 };
    if (!q->made && is_target(q->plan)) {
        print_target(q->plan);
        print_totals(q);
        return;
    }
    cli_table table = {.columns = q->made ? columns : planned, .n_columns = CLI_COUNT(columns)};
    for (size_t i = 0; i < kq_quant_plan_size(q->plan); i++) {
        const kq_quant_choice *c = kq_quant_plan_at(q->plan, i);
        char *name = cli_show(c->tensor->name.data, c->tensor->name.size, q->made ? 0 : NAME_BESIDE_REASON, true), bits[24], error[24];
        snprintf(bits, sizeof bits, "%.2f", bits_per_weight(c->bytes, c->tensor->weights));
        if (q->made && !c->copied && q->made[i].error >= 0) snprintf(error, sizeof error, "%.2f %%", sqrt(q->made[i].error) * 100);
        else snprintf(error, sizeof error, "-");
        const char *never = strstr(c->reason, "never quantised: "); /* "-" has said that */
        const char *why = never ? never + strlen("never quantised: ") : c->reason;
        const char *to = c->copied ? "-" : codec_name(c->codec);
        cli_table_row(&table, (const char *[]){name, codec_name(c->tensor->codec), to, cli_bytes(c->bytes).text, bits,
                                               q->made ? error : why});
        free(name);
    }
    cli_table_print(&table, stdout, cli_columns(stdout));
    cli_table_free(&table);
    print_totals(q);
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------------- */

static void json_tensor(cli_json *j, const cli_quantized *q, size_t i) {
    const kq_quant_choice *c = kq_quant_plan_at(q->plan, i);
    const kq_gguf_tensor *t = c->tensor;
    cli_json_object(j, NULL);
    cli_json_bytes(j, "name", t->name.data, t->name.size);
    cli_json_string(j, "role", c->role);
    cli_json_list(j, "shape");
    for (uint32_t d = 0; d < t->n_dims; d++) cli_json_u64(j, NULL, t->dims[d]);
    cli_json_end(j, ']');
    cli_json_string(j, "from", codec_name(t->codec));
    cli_json_string(j, "to", codec_name(c->codec));
    if (c->wanted != c->codec) cli_json_string(j, "wanted", codec_name(c->wanted));
    cli_json_string(j, "because", c->reason);
    cli_json_bool(j, "copied", c->copied);
    cli_json_bool(j, "importances", c->weighted);
    cli_json_u64(j, "weights", t->weights);
    cli_json_u64(j, "from_bytes", t->bytes);
    cli_json_u64(j, "bytes", c->bytes);
    cli_json_f64(j, "bits_per_weight", bits_per_weight(c->bytes, t->weights));
    double error = q->made ? q->made[i].error : c->error;
    if (error >= 0) cli_json_f64(j, "relative_error", sqrt(error));
    else cli_json_null(j, "relative_error");
    if (c->error >= 0) {
        cli_json_f64(j, "measured_error", sqrt(c->error));
        cli_json_f64(j, "error_counts", c->counted);
    }
    if (q->made) {
        cli_json_f64(j, "seconds", q->made[i].seconds);
        cli_json_bool(j, "kept", q->made[i].kept);
    }
    cli_json_end(j, '}');
}

void cli_quantized_json(const cli_quantized *q) {
    cli_json j = {.out = stdout};
    const kq_quant_plan *p = q->plan;
    cli_json_object(&j, NULL);
    cli_json_string(&j, "input", q->input);
    if (q->output) cli_json_string(&j, "output", q->output);
    else cli_json_null(&j, "output");
    cli_json_string(&j, "format", q->checkpoint ? "checkpoint" : "gguf");
    cli_json_string(&j, "type", q->what);
    cli_json_u64(&j, "file_type", kq_quant_plan_file_type(p));
    cli_json_bool(&j, "dry_run", !q->made);
    cli_json_u64(&j, "weights", all_weights(p));
    cli_json_u64(&j, "from_bytes", source_bytes(p));
    cli_json_u64(&j, "tensor_bytes", kq_quant_plan_tensor_bytes(p));
    if (!q->checkpoint) cli_json_u64(&j, "file_bytes", kq_quant_plan_file_bytes(p));
    cli_json_f64(&j, "bits_per_weight", kq_quant_plan_bpw(p));
    cli_json_f64(&j, "seconds", q->seconds);
    cli_json_i64(&j, "threads", q->threads);
    if (q->imatrix) cli_json_string(&j, "imatrix", q->imatrix_path);
    cli_json_array(&j, "tensors");
    for (size_t i = 0; i < kq_quant_plan_size(p); i++) json_tensor(&j, q, i);
    cli_json_end(&j, ']');
    cli_json_end(&j, '}');
}

/* ---- importances ------------------------------------------------------------------------------------------------------------ */

/* "a, b, c and 7 more" grows by one name. */
typedef struct names {
    char text[200];
    size_t used, n;
} names;

static void add_name(names *list, const kq_string *name) {
    char *shown = cli_show(name->data, name->size, 40, true);
    size_t length = strlen(shown);
    if (list->used + length + 32 < sizeof list->text) {
        list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s", list->n ? ", " : "", shown);
    } else if (list->text[list->used ? list->used - 1 : 0] != '.') {
        list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, ", ...");
    }
    list->n++;
    free(shown);
}

/* Those that llama.cpp collects nothing for. */
static bool is_excused(const char *name) {
    return !strcmp(name, "token_embd.weight") || !strcmp(name, "per_layer_token_embd.weight") || !strcmp(name, "output.weight");
}

void cli_quantized_coverage(const cli_quantized *q) {
    if (!q->imatrix) return;
    names strangers = {0}, without = {0}, useless = {0};
    const kq_imatrix_entry *e;
    const kq_gguf *source = kq_quant_plan_source(q->plan);
    for (size_t i = 0; (e = kq_imatrix_entry_at(q->imatrix, i)) != NULL; i++) {
        if (!kq_gguf_tensor_find(source, e->name.data)) add_name(&strangers, &e->name);
    }
    for (size_t i = 0; i < kq_quant_plan_size(q->plan); i++) {
        const kq_quant_choice *c = kq_quant_plan_at(q->plan, i);
        bool quantised = !c->copied && kq_codec_describe(c->codec)->block_weights > 1;
        if (quantised && !c->weighted && !is_excused(c->tensor->name.data)) add_name(&without, &c->tensor->name);
    }
    uint64_t at = 0;
    kq_imatrix_issue issue;
    size_t groups = 0;
    const kq_imatrix_entry *last = NULL;
    while (kq_imatrix_next_issue(q->imatrix, &at, &issue)) {
        if (issue.entry != last) add_name(&useless, &issue.entry->name);
        last = issue.entry;
        groups++;
    }
    if (strangers.n) cli_note("the importance matrix has %zu entries that are no tensors of the model: %s", strangers.n, strangers.text);
    if (without.n) cli_note("%zu tensors are quantised without importances, as the matrix has none: %s", without.n, without.text);
    if (groups) {
        cli_note("%zu groups of importances (experts) are all taken as 1, since nothing was counted or it is not finite, in: %s", groups,
                 useless.text);
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------------------- */

typedef struct sample {
    float *x, *importances;
    uint8_t *from, *to;
    uint64_t rows, cols, from_row, to_row;
} sample;

static void drop_sample(sample *s) {
    free(s->x);
    free(s->importances);
    free(s->from);
    free(s->to);
}

/* Reads as many rows as keep every thread busy for a moment. */
static kq_status take_sample(sample *s, const kq_quant_plan *p, const kq_quant_choice *c, int threads, kq_error *e) {
    const kq_gguf_tensor *t = c->tensor;
    bool found;
    s->cols = t->dims[0];
    s->rows = CLI_MIN(CLI_MAX(UINT64_C(65536) / s->cols, UINT64_C(1)) * (uint64_t)threads, t->dims[1]); /* of one group */
    kq_status status = kq_row_bytes(t->codec, s->cols, &s->from_row, e);
    if (!status) status = kq_row_bytes(c->codec, s->cols, &s->to_row, e);
    if (status) return status;
    s->x = cli_alloc((size_t)(s->rows * s->cols), sizeof *s->x);
    s->from = cli_alloc((size_t)(s->rows * s->from_row), 1);
    s->to = cli_alloc((size_t)(s->rows * s->to_row), 1);
    if (c->weighted) {
        s->importances = cli_alloc((size_t)(t->dims[0] * t->dims[2]), sizeof *s->importances);
        status = kq_imatrix_weights(kq_quant_plan_imatrix(p), t->name.data, t->dims[0], t->dims[2], s->importances, &found, e);
    }
    return status ? status : kq_gguf_tensor_read(kq_quant_plan_source(p), t, 0, s->rows * s->from_row, s->from, e);
}

/* Seconds for a weight. */
static kq_status time_sample(sample *s, const kq_quant_choice *c, kq_pool *pool, bool measure, double *out, kq_error *e) {
    uint64_t weights = s->rows * s->cols;
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.pool = pool;
    o.importances = s->importances;
    o.importance_floats = s->importances ? (size_t)s->cols : 0;
    *out = INFINITY;
    for (int turn = 0; turn < 2; turn++) { /* the first one also warms up */
        double begin = cli_seconds();
        kq_status status = kq_dequantize(c->tensor->codec, s->from, (size_t)(s->rows * s->from_row), weights, s->x, (size_t)weights, e);
        double decoded = cli_seconds();
        if (!status) status = kq_quantize(c->codec, s->x, (size_t)weights, s->rows, s->cols, s->to, (size_t)(s->rows * s->to_row), &o, e);
        double encoded = cli_seconds();
        if (!status && measure) status = kq_dequantize(c->codec, s->to, (size_t)(s->rows * s->to_row), weights, s->x, (size_t)weights, e);
        if (status) return status;
        double alone = decoded - begin + (cli_seconds() - encoded); /* decoding here has one thread, there all of them */
        double taken = alone / kq_pool_threads(pool) + (encoded - decoded);
        *out = CLI_MIN(*out, taken / (double)weights);
    }
    return KQ_OK;
}

double cli_quantized_estimate(const kq_quant_plan *plan, kq_pool *pool, bool measure) {
    const double written = 1e9; /* bytes a second that a disk is supposed to take */
    double known[KQ_CODEC_LIMIT][2] = {{0}}, total = 0;
    for (size_t i = 0; i < kq_quant_plan_size(plan); i++) {
        const kq_quant_choice *c = kq_quant_plan_at(plan, i);
        total += (double)c->bytes / written;
        if (c->copied) continue;
        double *rate = &known[c->codec][c->weighted];
        if (*rate == 0) {
            sample s = {0};
            kq_error e;
            kq_status status = take_sample(&s, plan, c, kq_pool_threads(pool), &e);
            if (!status) status = time_sample(&s, c, pool, measure, rate, &e);
            drop_sample(&s);
            if (status) {
                cli_fail_kq(NULL, &e);
                return -1;
            }
        }
        total += *rate * (double)c->tensor->weights;
        if (cli_stopped()) return -1;
    }
    return total;
}
