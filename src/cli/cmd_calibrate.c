/* SPDX-License-Identifier: MIT */
/* kquant calibrate: which columns of a model's weights matter, from a text that it reads. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *model, *file, *output, *in_file;
    int64_t ctx_size, batch_size, chunks, from_chunk, save_every, threads;
    bool process_output, merge, fast, json;
    int format;
} values;

enum { FORMAT_AUTO, FORMAT_GGUF, FORMAT_DAT };

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model), .help = "model: a GGUF, or a folder; unquantised where you have it (without: the one that comes with kquant)"},
    {.names = "-f --file", CLI_IS_FILE(file), .help = "the text; - is standard input"},
    {.names = "-o --output", .aliases = "--output-file", CLI_IS_FILE(output), .help = "where the matrix goes"},
    {.names = "--format", .aliases = "--output-format", CLI_IS_CHOICE(format, "FORM", "auto gguf dat"), .fallback = "auto",
     .help = "auto is dat, the old form, when the output's name ends in .dat"},
    {.names = "-c --ctx-size", CLI_IS_WHOLE(ctx_size, "N", 4, INT32_MAX), .fallback = "512", .help = "tokens of a chunk"},
    {.names = "--chunks", CLI_IS_WHOLE(chunks, "N", -1, INT32_MAX), .fallback = "-1", .help = "chunks to read; -1 is all"},
    {.names = "--from-chunk", .aliases = "--chunk", CLI_IS_WHOLE(from_chunk, "N", 0, INT32_MAX), .fallback = "0",
     .help = "pass over the first N chunks of the text"},
    {.names = "--in-file", CLI_IS_FILE(in_file), .help = "begin with this matrix of the same model: to continue a run that ended, give its "
                                                         "output here and its number of chunks to --from-chunk"},
    {.names = "--save-every", .aliases = "--save-frequency --output-frequency", CLI_IS_WHOLE(save_every, "N", 0, INT32_MAX), .fallback = "0",
     .help = "write the output after every N chunks too; 0 writes it at the end alone"},
    {.names = "--process-output", CLI_IS_FLAG(process_output), .help = "collect output.weight too; without, as in llama.cpp, it is left out"},
    {.names = "--merge", CLI_IS_FLAG(merge), .help = "add up the matrices that are given as arguments; no model is needed"},
    {.names = "-b --batch-size", CLI_IS_WHOLE(batch_size, "N", 1, 65536), .fallback = "512", .help = "tokens that are evaluated together"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
    {.names = "--fast", CLI_IS_FLAG(fast), .help = "rounded activations: two to four times as fast, and the sums are off by up to a few parts in a thousand"},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print the report as JSON"},
};

/* Everything of one run. Freed by release, whatever was reached. */
typedef struct collecting {
    const values *v;
    const char *path;
    kq_model *model;
    kq_pool *pool;
    kq_session *session;
    kq_calibration *sums;
    int32_t *ids; /* [n_ids] */
    float *logits; /* [batch][n_vocab]: asked for so that the last layer sees every token */
    size_t n_ids, n_chunks, batch, first, old_chunks;
    int32_t bos;
    double seconds;
} collecting;

static void release(collecting *c) {
    kq_session_close(c->session);
    kq_calibration_close(c->sums);
    kq_pool_close(c->pool);
    kq_model_close(c->model);
    free(c->ids);
    free(c->logits);
}

static kq_imatrix_form form_of(const values *v) {
    size_t n = strlen(v->output);
    bool dat = v->format == FORMAT_DAT || (v->format == FORMAT_AUTO && n >= 4 && !strcmp(v->output + n - 4, ".dat"));
    return dat ? KQ_IMATRIX_DAT : KQ_IMATRIX_GGUF;
}

/* ---- merging -------------------------------------------------------------------------------------------------------------- */

static kq_status add_all(kq_imatrix *to, const kq_imatrix *from, kq_error *e) {
    kq_status status = KQ_OK;
    for (size_t i = 0; i < kq_imatrix_n_entries(from) && !status; i++) {
        const kq_imatrix_entry *n = kq_imatrix_entry_at(from, i);
        status = kq_imatrix_add(to, n->name.data, n->columns, n->groups, n->sums, n->counts, e);
    }
    const char *name;
    for (size_t i = 0; (name = kq_imatrix_dataset_at(from, i)) != NULL && !status; i++) status = kq_imatrix_add_dataset(to, name, e);
    return status;
}

/* One of several files into the sum; `form` is that of the first. */
static int merge_one(kq_imatrix *sum, const char *path, bool first, kq_imatrix_form *form) {
    kq_error e;
    kq_imatrix *from;
    if (kq_imatrix_open(&from, path, NULL, &e)) return cli_fail_kq(path, &e);
    int code = CLI_FINE;
    kq_imatrix_issue issue;
    for (uint64_t at = 0; !code && kq_imatrix_next_issue(from, &at, &issue);) {
        if (issue.fault == KQ_IMATRIX_NEVER_HIT) continue;
        code = cli_fail(CLI_BAD_FILE, "%s: %s holds sums or counts that are %s", path, issue.entry->name.data,
                        issue.fault == KQ_IMATRIX_NEGATIVE ? "negative" : "not finite");
    }
    uint32_t size, sum_size, chunks = kq_imatrix_chunks(from, &size), sum_chunks = kq_imatrix_chunks(sum, &sum_size);
    if (first) *form = kq_imatrix_form_of(from), sum_size = size;
    if (!code && kq_imatrix_form_of(from) != *form) {
        code = cli_fail(CLI_BAD_FILE, "%s: is not of the first's form; their counts mean other things", path);
    }
    if (!code && size != sum_size) code = cli_fail(CLI_BAD_FILE, "%s: has chunks of %u tokens, the first of %u", path, size, sum_size);
    if (!code && chunks > UINT32_MAX - sum_chunks) code = cli_fail(CLI_BAD_FILE, "%s: too many chunks", path);
    if (!code && add_all(sum, from, &e)) code = cli_fail(CLI_BAD_FILE, "%s: %s", path, e.text);
    if (!code) kq_imatrix_set_chunks(sum, sum_chunks + chunks, size);
    kq_imatrix_close(from);
    return code;
}

static int merge(const values *v) {
    if (v->common.n_args < 1) return cli_fail_usage(&cli_calibrate, "which matrices? (--merge A B -o C)");
    kq_error e;
    kq_imatrix *sum;
    kq_imatrix_form form = KQ_IMATRIX_GGUF;
    int code = kq_imatrix_create(&sum, NULL, &e) ? cli_fail_kq(NULL, &e) : CLI_FINE;
    for (int i = 0; i < v->common.n_args && !code; i++) code = merge_one(sum, v->common.args[i], i == 0, &form);
    if (!code && form == KQ_IMATRIX_DAT && form_of(v) != form) {
        code = cli_fail(CLI_FAILED, "%s: the old form does not count by expert, so its sum is written as a .dat only", v->output);
    }
    if (!code && kq_imatrix_write(sum, v->output, form_of(v), &e)) code = cli_fail_kq(v->output, &e);
    kq_imatrix_close(sum);
    return code;
}

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static int read_text(collecting *c) {
    const values *v = c->v;
    char *text;
    size_t size, n = (size_t)v->ctx_size;
    if (!cli_read_file(v->file, &text, &size)) return cli_stopped() ? cli_stopped_code() : CLI_FAILED;
    const kq_tokenizer *t = kq_model_tokenizer(c->model);
    kq_error e;
    kq_status status = cli_encode(t, text, size, KQ_ENCODE_ADD_SPECIAL, &c->ids, &c->n_ids, &e);
    free(text);
    if (status) return cli_fail_kq(c->path, &e);
    c->bos = kq_tokenizer_adds_bos(t) ? kq_tokenizer_bos(t) : KQ_NO_TOKEN;
    size_t all = c->n_ids / n;
    c->first = CLI_MIN((size_t)v->from_chunk, all);
    c->n_chunks = all - c->first;
    if (c->n_chunks == 0) {
        return cli_fail(CLI_FAILED, "%s: %zu tokens are no chunk of %zu behind the first %lld; give a longer text, or a smaller -c", v->file,
                        c->n_ids, n, (long long)v->from_chunk);
    }
    if (v->chunks > 0) c->n_chunks = CLI_MIN(c->n_chunks, (size_t)v->chunks);
    return CLI_FINE;
}

static int read_old(collecting *c) {
    if (!c->v->in_file) return CLI_FINE;
    kq_error e;
    kq_imatrix *old;
    if (kq_imatrix_open(&old, c->v->in_file, NULL, &e)) return cli_fail_kq(c->v->in_file, &e);
    uint32_t size;
    c->old_chunks = kq_imatrix_chunks(old, &size);
    int code = CLI_FINE;
    if (kq_imatrix_form_of(old) == KQ_IMATRIX_GGUF && size != (uint64_t)c->v->ctx_size) {
        code = cli_fail(CLI_BAD_FILE, "%s: has chunks of %u tokens, not %lld (-c)", c->v->in_file, size, (long long)c->v->ctx_size);
    } else if (kq_calibration_merge(c->sums, old, &e)) {
        code = cli_fail_kq(c->v->in_file, &e);
    }
    kq_imatrix_close(old);
    return code;
}

static int open_all(collecting *c) {
    const values *v = c->v;
    kq_error e;
    int code = cli_model_open(&c->model, c->path, false);
    if (!code && kq_gguf_is_file(kq_model_file(c->model), v->output)) {
        code = cli_fail(CLI_FAILED, "%s: is the model itself; choose another name for the output", v->output);
    }
    if (!code) code = read_text(c);
    if (code) return code;
    kq_calibration_options co = KQ_OPTIONS_INIT(kq_calibration_options);
    co.output = v->process_output;
    if (kq_calibration_open(&c->sums, c->model, &co, &e) || kq_pool_open(&c->pool, (int)v->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    if ((code = read_old(c)) != CLI_FINE) return code;
    size_t n_vocab = CLI_MAX((size_t)kq_model_describe(c->model).n_vocab, (size_t)1), some = ((size_t)64 << 20) / sizeof(float) / n_vocab;
    c->batch = CLI_MAX(CLI_MIN((size_t)CLI_MIN(v->batch_size, v->ctx_size), some), (size_t)1);
    c->logits = cli_alloc(c->batch * n_vocab, sizeof *c->logits);
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.pool = c->pool;
    o.n_ctx = (uint32_t)v->ctx_size;
    o.n_batch = (uint32_t)c->batch;
    o.state_type = KQ_STATE_F32;
    o.mode = v->fast ? KQ_FAST : KQ_EXACT;
    o.observe = kq_calibration_observe;
    o.observe_ctx = c->sums;
    return kq_session_open(&c->session, c->model, &o, &e) ? cli_fail_kq(c->path, &e) : CLI_FINE;
}

/* ---- collecting ----------------------------------------------------------------------------------------------------------- */

static int read_chunk(collecting *c, size_t index) {
    size_t n = (size_t)c->v->ctx_size;
    int32_t *ids = c->ids + index * n;
    kq_error e;
    if (c->bos != KQ_NO_TOKEN) ids[0] = c->bos;
    kq_status status = kq_session_rewind(c->session, 0, &e);
    for (size_t at = 0, m; at < n && !status; at += m) {
        m = CLI_MIN(n - at, c->batch);
        status = kq_session_append(c->session, ids + at, m, c->logits, m, &e);
    }
    return status ? cli_fail_kq(c->path, &e) : CLI_FINE;
}

static kq_status save(const collecting *c, size_t chunks, kq_error *e) {
    kq_imatrix *im;
    kq_status status = kq_imatrix_create(&im, NULL, e);
    if (status) return status;
    status = kq_calibration_result(c->sums, im, e);
    if (!status) status = kq_imatrix_add_dataset(im, c->v->file, e);
    kq_imatrix_set_chunks(im, (uint32_t)CLI_MIN(c->old_chunks + chunks, (size_t)UINT32_MAX), (uint32_t)c->v->ctx_size);
    if (!status) status = kq_imatrix_write(im, c->v->output, form_of(c->v), e);
    kq_imatrix_close(im);
    return status;
}

static int collect(collecting *c) {
    kq_error e;
    double start = cli_seconds();
    int code = CLI_FINE;
    for (size_t i = 0; i < c->n_chunks && !code; i++) {
        cli_bar("calibrating", (double)i / (double)c->n_chunks);
        code = read_chunk(c, c->first + i);
        if (!code && cli_stopped()) code = cli_stopped_code();
        bool last = i + 1 == c->n_chunks, due = c->v->save_every > 0 && (i + 1) % (size_t)c->v->save_every == 0;
        if (!code && (last || due) && save(c, i + 1, &e)) code = cli_fail_kq(c->v->output, &e);
    }
    cli_bar_clear();
    c->seconds = cli_seconds() - start;
    return code;
}

/* ---- the report ----------------------------------------------------------------------------------------------------------- */

typedef struct coverage {
    size_t weights, never, experts, experts_never, experts_few;
    uint64_t not_finite, mean; /* mean: rows that an expert of this weight would see if all saw as many */
} coverage;

/* Fewer than a tenth of what an expert would see if all saw as many. */
static bool is_few(uint64_t count, uint64_t mean) { return count > 0 && count * 10 < mean; }

static uint64_t mean_count(const kq_calibration_entry *e, uint64_t *total) {
    *total = 0;
    for (uint64_t g = 0; g < e->groups; g++) *total += e->counts[g];
    return e->groups ? *total / e->groups : 0;
}

static coverage cover(const collecting *c) {
    coverage all = {0};
    kq_calibration_entry e;
    uint64_t total;
    for (size_t i = 0; kq_calibration_entry_at(c->sums, i, &e); i++) {
        uint64_t mean = mean_count(&e, &total);
        all.weights++;
        all.never += total == 0;
        all.not_finite += e.not_finite;
        for (uint64_t g = 0; e.groups > 1 && g < e.groups; g++) {
            all.experts++;
            all.experts_never += e.counts[g] == 0;
            all.experts_few += is_few(e.counts[g], mean);
        }
    }
    return all;
}

/* Calls `row` for everything that is less than it should be. */
static void list_gaps(const collecting *c, void (*row)(void *ctx, const kq_calibration_entry *e, int64_t expert, uint64_t count, const char *what),
                      void *ctx) {
    kq_calibration_entry e;
    uint64_t total;
    for (size_t i = 0; kq_calibration_entry_at(c->sums, i, &e); i++) {
        uint64_t mean = mean_count(&e, &total);
        if (e.not_finite) row(ctx, &e, -1, e.not_finite, "not finite, left out");
        if (total == 0) row(ctx, &e, -1, 0, "never hit");
        for (uint64_t g = 0; e.groups > 1 && total && g < e.groups; g++) {
            if (e.counts[g] == 0) row(ctx, &e, (int64_t)g, 0, "never hit");
            if (is_few(e.counts[g], mean)) row(ctx, &e, (int64_t)g, e.counts[g], "few");
        }
    }
}

static void json_row(void *ctx, const kq_calibration_entry *e, int64_t expert, uint64_t count, const char *what) {
    cli_json *j = ctx;
    cli_json_object(j, NULL);
    cli_json_string(j, "tensor", e->name);
    if (expert >= 0) cli_json_i64(j, "expert", expert);
    else cli_json_null(j, "expert");
    cli_json_u64(j, "rows", count);
    cli_json_string(j, "what", what);
    cli_json_end(j, '}');
}

static void table_row(void *ctx, const kq_calibration_entry *e, int64_t expert, uint64_t count, const char *what) {
    char number[24], rows[24];
    snprintf(number, sizeof number, "%lld", (long long)expert);
    snprintf(rows, sizeof rows, "%llu", (unsigned long long)count);
    cli_table_row(ctx, (const char *[]){e->name, expert < 0 ? "" : number, rows, what});
}

static void report(const collecting *c) {
    coverage all = cover(c);
    size_t tokens = c->n_chunks * (size_t)c->v->ctx_size;
    if (c->v->json) {
        cli_json j = {.out = stdout};
        cli_json_object(&j, NULL);
        cli_json_string(&j, "output", c->v->output);
        cli_json_u64(&j, "chunks", c->n_chunks);
        cli_json_u64(&j, "chunks_before", c->old_chunks);
        cli_json_u64(&j, "chunk_size", (uint64_t)c->v->ctx_size);
        cli_json_u64(&j, "weights", all.weights);
        cli_json_u64(&j, "weights_never_hit", all.never);
        cli_json_u64(&j, "experts", all.experts);
        cli_json_u64(&j, "experts_never_hit", all.experts_never);
        cli_json_u64(&j, "experts_few", all.experts_few);
        cli_json_u64(&j, "rows_not_finite", all.not_finite);
        cli_json_f64(&j, "seconds", c->seconds);
        cli_json_array(&j, "gaps");
        list_gaps(c, json_row, &j);
        cli_json_end(&j, ']');
        cli_json_end(&j, '}');
        return;
    }
    printf("chunks   %zu of %lld tokens", c->n_chunks, (long long)c->v->ctx_size);
    if (c->old_chunks) printf(", after %zu from %s", c->old_chunks, c->v->in_file);
    printf("\nweights  %zu, of which %zu were never hit\n", all.weights, all.never);
    if (all.experts) {
        printf("experts  %zu, of which %zu were never hit, and %zu by less than a tenth of their share\n", all.experts, all.experts_never,
               all.experts_few);
    }
    static const cli_column columns[] = {{"tensor", false, true}, {"expert", true, false}, {"rows", true, false}, {"", false, false}};
    cli_table t = {.columns = columns, .n_columns = CLI_COUNT(columns)};
    list_gaps(c, table_row, &t);
    if (t.n_rows) {
        printf("\n");
        cli_table_print(&t, stdout, cli_columns(stdout));
    }
    cli_table_free(&t);
    fprintf(stderr, "%stime     %.1f s, %s tokens/s%s\n", cli_faint(), c->seconds, cli_rate((double)tokens / CLI_MAX(c->seconds, 1e-9)).text,
            cli_plain());
}

static int run(const void *given) {
    const values *v = given;
    if (!v->output) return cli_fail_usage(&cli_calibrate, "where to? (-o FILE)");
    if (v->merge) return merge(v);
    if (v->common.n_args) return cli_fail_usage(&cli_calibrate, "unexpected argument '%s'", v->common.args[0]);
    if (!v->file) return cli_fail_usage(&cli_calibrate, "which text? (-f FILE, or -f - for standard input)");
    if (v->chunks == 0) return cli_fail_usage(&cli_calibrate, "--chunks 0 leaves nothing to read");
    collecting c = {.v = v, .path = cli_model_path(v->model)};
    if (!c.path) return CLI_FAILED;
    cli_signals_catch_stop();
    int code = open_all(&c);
    if (!code) code = collect(&c);
    if (!code) report(&c);
    release(&c);
    return code;
}

const cli_command cli_calibrate = {
    .name = "calibrate",
    .aliases = "imatrix",
    .usage = "[-m MODEL] -f TEXT -o FILE [--chunks N] | --merge FILE... -o FILE",
    .summary = "Collect which columns of a model's weights matter",
    .description = "Reads a text in chunks of -c tokens and adds up, for each column of each weight, the squares of what it is multiplied with: an "
                   "importance matrix, as llama-imatrix makes it, for kquant quantize --imatrix. Each expert is collected by itself, with its own "
                   "count; embeddings never are. "
                   "Without --fast the file depends on the model and the text alone, not on the batch, the threads or the processor.\n\n"
                   "Rows with NaN or infinity are left out. The report lists them, weights and experts that were never hit (they count as if all "
                   "their columns mattered alike), and experts with less than a tenth of their share.",
    .examples = "kquant calibrate -m model-bf16.gguf -f text.txt -o model.imatrix.gguf\n"
                "kquant calibrate --merge a.imatrix.gguf b.imatrix.gguf -o c.imatrix.gguf",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 256,
    .needs_arguments = true,
    .run = run,
};
