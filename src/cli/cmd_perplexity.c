/* SPDX-License-Identifier: MIT */
/* kquant perplexity: how well a model tells a text, and how far it is from another model that tells the same text beside it. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *model, *reference, *file;
    int64_t ctx_size, batch_size, chunks, threads;
    bool exact, json;
    int kv;
} values;

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model), .help = CLI_HELP_MODEL},
    {.names = "-f --file", CLI_IS_FILE(file), .help = "the text; - is standard input"},
    {.names = "-r --reference", .aliases = "--base", CLI_IS_FILE(reference),
     .help = "a second model, mostly the unquantised one, that reads the text too: prints how far the first is from it"},
    {.names = "-c --ctx-size", CLI_IS_WHOLE(ctx_size, "N", 4, INT32_MAX), .fallback = "512",
     .help = "tokens of a chunk; figures of chunks of different sizes cannot be compared"},
    {.names = "--chunks", CLI_IS_WHOLE(chunks, "N", -1, INT32_MAX), .fallback = "-1", .help = "chunks to read; -1 is all"},
    {.names = "-b --batch-size", CLI_IS_WHOLE(batch_size, "N", 1, 65536), .fallback = "512", .help = "tokens that are evaluated together"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
    {.names = "--kv", .aliases = CLI_KV_ALIASES, CLI_IS_CHOICE(kv, "TYPE", "f16 f32"), .fallback = "f32",
     .help = "number format of the KV cache; here f32, which adds no rounding of its own"},
    {.names = "--exact", CLI_IS_FLAG(exact), .help = CLI_HELP_EXACT},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON"},
};

typedef struct side {
    const char *path;
    kq_model *model;
    kq_session *session;
} side;

/* Everything of one run. Freed by release, whatever was reached. */
typedef struct reading {
    const values *v;
    side sides[2]; /* the model, and the reference when n_sides is 2 */
    int n_sides;
    kq_pool *pool;
    kq_perplexity *figures;
    int32_t *ids; /* [n_ids] */
    size_t n_ids, n_chunks;
    int32_t bos;  /* what stands in for a chunk's first token, or KQ_NO_TOKEN */
    double seconds;
} reading;

static void release(reading *r) {
    for (int i = 0; i < 2; i++) {
        kq_session_close(r->sides[i].session);
        kq_model_close(r->sides[i].model);
    }
    kq_perplexity_close(r->figures);
    kq_pool_close(r->pool);
    free(r->ids);
}

/* ---- the text ----------------------------------------------------------------------------------------------------------- */

/* Two models can be compared only where they read the same tokens. */
static int check_reference(const reading *r, const char *text, size_t size) {
    const side *a = &r->sides[0], *b = &r->sides[1];
    size_t sizes[2] = {kq_tokenizer_size(kq_model_tokenizer(a->model)), kq_tokenizer_size(kq_model_tokenizer(b->model))};
    if (sizes[0] != sizes[1]) {
        return cli_fail(CLI_BAD_FILE, "%s: a vocabulary of %zu tokens, but %s has %zu; the two cannot be compared", b->path, sizes[1], a->path,
                        sizes[0]);
    }
    int32_t *ids;
    size_t n;
    kq_error e;
    if (cli_encode(kq_model_tokenizer(b->model), text, size, KQ_ENCODE_ADD_SPECIAL, &ids, &n, &e)) return cli_fail_kq(b->path, &e);
    size_t same = 0, most = CLI_MIN(n, r->n_ids);
    while (same < most && ids[same] == r->ids[same]) same++;
    free(ids);
    if (same == n && n == r->n_ids) return CLI_FINE;
    return cli_fail(CLI_BAD_FILE, "%s: reads other tokens than %s (from token %zu on); the two cannot be compared", b->path, a->path, same);
}

static int read_text(reading *r) {
    const values *v = r->v;
    char *text;
    size_t size;
    if (!cli_read_file(v->file, &text, &size)) return cli_stopped() ? cli_stopped_code() : CLI_FAILED;
    const kq_tokenizer *t = kq_model_tokenizer(r->sides[0].model);
    kq_error e;
    int code = CLI_FINE;
    if (cli_encode(t, text, size, KQ_ENCODE_ADD_SPECIAL, &r->ids, &r->n_ids, &e)) code = cli_fail_kq(r->sides[0].path, &e);
    if (!code && r->n_sides == 2) code = check_reference(r, text, size);
    free(text);
    if (code) return code;
    r->bos = kq_tokenizer_adds_bos(t) ? kq_tokenizer_bos(t) : KQ_NO_TOKEN;
    r->n_chunks = r->n_ids / (size_t)v->ctx_size;
    if (r->n_chunks == 0) {
        return cli_fail(CLI_FAILED, "%s: %zu tokens are no chunk of %lld; give a longer text, or a smaller -c", v->file, r->n_ids,
                        (long long)v->ctx_size);
    }
    if (v->chunks > 0) r->n_chunks = CLI_MIN(r->n_chunks, (size_t)v->chunks);
    return CLI_FINE;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static int open_side(reading *r, side *s) {
    const values *v = r->v;
    kq_error e;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.pool = r->pool;
    o.n_ctx = (uint32_t)v->ctx_size;
    o.n_batch = (uint32_t)v->batch_size;
    o.state_type = v->kv == 0 ? KQ_STATE_F16 : KQ_STATE_F32;
    o.mode = v->exact ? KQ_EXACT : KQ_FAST;
    uint64_t trained = kq_model_describe(s->model).n_ctx_train;
    if ((uint64_t)v->ctx_size > trained) {
        cli_note("%s was trained on %llu tokens together, fewer than -c %lld", s->path, (unsigned long long)trained, (long long)v->ctx_size);
    }
    return kq_session_open(&s->session, s->model, &o, &e) ? cli_fail_kq(s->path, &e) : CLI_FINE;
}

static int open_all(reading *r) {
    kq_error e;
    int code = CLI_FINE;
    for (int i = 0; i < r->n_sides && !code; i++) code = cli_model_open(&r->sides[i].model, r->sides[i].path, false);
    if (!code) code = read_text(r);
    if (code) return code;
    if (kq_pool_open(&r->pool, (int)r->v->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    for (int i = 0; i < r->n_sides && !code; i++) code = open_side(r, &r->sides[i]);
    if (code) return code;
    kq_perplexity_options o = KQ_OPTIONS_INIT(kq_perplexity_options);
    o.pool = r->pool;
    o.n_vocab = (uint32_t)kq_model_describe(r->sides[0].model).n_vocab;
    o.reference = r->n_sides == 2;
    return kq_perplexity_open(&r->figures, &o, &e) ? cli_fail_kq(NULL, &e) : CLI_FINE;
}

static int read_chunks(reading *r) {
    kq_error e;
    size_t n = (size_t)r->v->ctx_size;
    double start = cli_seconds();
    for (size_t i = 0; i < r->n_chunks; i++) {
        cli_bar("perplexity", (double)i / (double)r->n_chunks);
        if (kq_perplexity_chunk(r->figures, r->sides[0].session, r->sides[1].session, r->ids + i * n, n, r->bos, &e)) {
            cli_bar_clear();
            return cli_fail(e.status == KQ_E_MODEL ? CLI_BAD_FILE : CLI_FAILED, "chunk %zu of %zu: %s", i + 1, r->n_chunks, e.text);
        }
        if (cli_stopped()) break;
    }
    cli_bar_clear();
    r->seconds = cli_seconds() - start;
    return cli_stopped() ? cli_stopped_code() : CLI_FINE;
}

/* ---- results ------------------------------------------------------------------------------------------------------------ */

static void json_estimate(cli_json *j, const char *key, kq_estimate e) {
    cli_json_object(j, key);
    cli_json_f64(j, "value", e.value);
    cli_json_f64(j, "error", e.error); /* null where there is none */
    cli_json_end(j, '}');
}

static void print_json(const reading *r, const kq_perplexity_figures *f) {
    cli_json j = {.out = stdout};
    cli_json_object(&j, NULL);
    cli_json_string(&j, "model", r->sides[0].path);
    if (r->n_sides == 2) cli_json_string(&j, "reference", r->sides[1].path);
    cli_json_string(&j, "text", r->v->file);
    cli_json_string(&j, "mode", r->v->exact ? "exact" : "fast");
    cli_json_string(&j, "kv", r->v->kv == 0 ? "f16" : "f32");
    cli_json_u64(&j, "chunks", r->n_chunks);
    cli_json_u64(&j, "chunk_size", (uint64_t)r->v->ctx_size);
    cli_json_u64(&j, "tokens", f->n_tokens);
    cli_json_f64(&j, "seconds", r->seconds);
    json_estimate(&j, "perplexity", f->perplexity);
    if (r->n_sides == 2) {
        json_estimate(&j, "reference_perplexity", f->reference_perplexity);
        json_estimate(&j, "ln_perplexity_ratio", f->ln_ratio);
        json_estimate(&j, "kld_mean", f->kld_mean);
        json_estimate(&j, "kld_median", f->kld_median);
        json_estimate(&j, "kld_99", f->kld_p99);
        json_estimate(&j, "kld_maximum", f->kld_max);
        json_estimate(&j, "same_top", f->same_top);
        json_estimate(&j, "delta_p_mean", f->delta_p_mean);
        json_estimate(&j, "delta_p_rms", f->delta_p_rms);
    }
    cli_json_end(&j, '}');
}

static void print_estimate(const char *name, kq_estimate e, double scale, int decimals, const char *unit) {
    printf("%-22s%.*f%s", name, decimals, e.value * scale, unit);
    if (!isnan(e.error)) printf(" +/- %.*f%s", decimals, e.error * scale, unit);
    printf("\n");
}

static void print_text(const reading *r, const kq_perplexity_figures *f) {
    print_estimate("perplexity", f->perplexity, 1, 4, "");
    if (r->n_sides == 2) {
        print_estimate("  of the reference", f->reference_perplexity, 1, 4, "");
        print_estimate("  ln of the ratio", f->ln_ratio, 1, 6, "");
        print_estimate("divergence, mean", f->kld_mean, 1, 6, "");
        print_estimate("  median", f->kld_median, 1, 6, "");
        print_estimate("  99 %", f->kld_p99, 1, 6, "");
        print_estimate("  maximum", f->kld_max, 1, 6, "");
        print_estimate("same top token", f->same_top, 100, 2, " %");
        print_estimate("change of p, mean", f->delta_p_mean, 100, 3, " %");
        print_estimate("  root mean square", f->delta_p_rms, 100, 3, " %");
    }
    printf("%-22s%llu, in %zu chunks of %lld\n", "tokens", (unsigned long long)f->n_tokens, r->n_chunks, (long long)r->v->ctx_size);
    fprintf(stderr, "%s%-22s%.1f s, %s tokens/s%s\n", cli_faint(), "time", r->seconds,
            cli_rate((double)r->n_chunks * (double)r->v->ctx_size * r->n_sides / CLI_MAX(r->seconds, 1e-9)).text, cli_plain());
}

static int run(const void *given) {
    const values *v = given;
    if (!v->file) return cli_fail_usage(&cli_perplexity, "which text? (-f FILE, or -f - for standard input)");
    if (v->chunks == 0) return cli_fail_usage(&cli_perplexity, "--chunks 0 leaves nothing to read");
    reading r = {.v = v, .n_sides = v->reference ? 2 : 1, .sides = {{.path = cli_model_path(v->model)}, {.path = v->reference}}};
    if (!r.sides[0].path) return CLI_FAILED;
    cli_signals_catch_stop();
    int code = open_all(&r);
    if (!code) code = read_chunks(&r);
    kq_perplexity_figures f;
    kq_error e;
    if (!code && kq_perplexity_result(r.figures, &f, &e)) code = cli_fail_kq(NULL, &e);
    if (!code) (v->json ? print_json : print_text)(&r, &f);
    release(&r);
    return code;
}

const cli_command cli_perplexity = {
    .name = "perplexity",
    .aliases = "ppl",
    .usage = "[-m MODEL] -f TEXT [--reference MODEL] [--chunks N] [--json]",
    .summary = "Measure how well a model tells a text",
    .description = "Cuts the text's tokens into chunks of -c; of each chunk the tokens of the second half count, each told from all before it "
                   "(llama.cpp's rule; with a model that wants BOS, it stands in for a chunk's first token). Tokens behind the last whole chunk are "
                   "not read. Special tokens written in the text are text.\n\n"
                   "With --reference both models read the text side by side, in memory that does not grow with it: the divergence is that of "
                   "Kullback and Leibler, from the reference's probabilities to the model's, in nats a token. Behind each +/- is one standard error, "
                   "as if tokens were independent; median and 99 % are within 0.05 % of themselves.",
    .examples = "kquant perplexity -m model-q4_k_m.gguf -f text.txt\n"
                "kquant perplexity -m model-q4_k_m.gguf -r model-bf16.gguf -f text.txt",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .needs_arguments = true,
    .run = run,
};
