/* SPDX-License-Identifier: MIT */
/* kquant logits: what a model thinks after each of given tokens, as numbers. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct values {
    cli_values common;
    const char *model, *tokens, *output;
    int64_t prefill, threads;
    bool exact;
    int kv;
} values;

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model), .help = CLI_HELP_MODEL},
    {.names = "--tokens", CLI_IS_TEXT(tokens, "IDS"), .help = "ids, separated by commas: 13,92,7"},
    {.names = "--prefill", CLI_IS_WHOLE(prefill, "N", -1, INT32_MAX), .fallback = "-1",
     .help = "evaluate the first N tokens in one batch (of at most 512; then the next) and the others one at a time; -1 leaves the batches to "
             "kquant"},
    {.names = "-o --output", CLI_IS_FILE(output), .help = "where to write; - is standard output"},
    {.names = "--exact", CLI_IS_FLAG(exact), .help = CLI_HELP_EXACT},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
    {.names = "--kv", .aliases = CLI_KV_ALIASES, CLI_IS_CHOICE(kv, "TYPE", "f16 f32"), .fallback = "f32",
     .help = "number format of the KV cache; here f32, which adds no rounding of its own, and f16 to see what it costs"},
};

/* "13,92,7" as numbers; 0 after an error message. */
static size_t parse_tokens(const char *list, int32_t **tokens) {
    size_t n = 0, capacity = strlen(list) / 2 + 1;
    *tokens = cli_alloc(capacity, sizeof **tokens);
    for (const char *at = list;; at++) {
        char word[24];
        size_t size = strcspn(at, ",");
        int64_t id;
        snprintf(word, sizeof word, "%.*s", (int)CLI_MIN(size, sizeof word - 1), at);
        if (size >= sizeof word || !cli_parse_whole(word, 0, INT32_MAX, &id)) {
            cli_fail_usage(&cli_logits, "--tokens: '%s' (number %zu of the list) is no token id", word, n + 1);
            return 0;
        }
        (*tokens)[n++] = (int32_t)id;
        at += size;
        if (!*at) return n;
    }
}

/* Evaluates tokens[from, from + n) and writes their logits. */
static int evaluate(kq_session *s, const int32_t *tokens, size_t n, float *logits, size_t n_vocab, cli_output *o) {
    kq_error e;
    if (kq_session_append(s, tokens, n, logits, n, &e)) return cli_fail_kq(NULL, &e);
    if (cli_stopped()) return cli_stopped_code();
    return cli_output_write(o, logits, n * n_vocab * sizeof *logits) ? CLI_FINE : CLI_FAILED;
}

/* Most tokens between two looks at Ctrl-C. Attention to tokens before does not ask in which batch they came. */
enum { LONGEST_BATCH = 512 };

/* The first tokens together, the others `step` at a time. */
static int write_logits(kq_session *s, const int32_t *tokens, size_t n, size_t first, size_t step, size_t n_vocab, cli_output *o) {
    int32_t head[2] = {(int32_t)n, (int32_t)n_vocab};
    if (!cli_output_write(o, head, sizeof head) || !cli_output_write(o, tokens, n * sizeof *tokens)) return CLI_FAILED;
    float *logits = cli_alloc(CLI_MIN(CLI_MAX(first, step), (size_t)LONGEST_BATCH), n_vocab * sizeof *logits);
    int code = CLI_FINE;
    for (size_t at = 0, batch; at < n && !code; at += batch) {
        batch = at < first ? CLI_MIN(first - at, (size_t)LONGEST_BATCH) : CLI_MIN(step, n - at);
        cli_bar("logits", (double)at / (double)n);
        code = evaluate(s, tokens + at, batch, logits, n_vocab, o);
    }
    cli_bar_clear();
    free(logits);
    if (!code && !cli_output_commit(o)) code = CLI_FAILED;
    return code;
}

static int evaluate_model(const values *v, const char *path, const kq_model *m, const int32_t *tokens, size_t n) {
    kq_model_info info = kq_model_describe(m);
    for (size_t i = 0; i < n; i++) {
        if ((uint64_t)tokens[i] < info.n_vocab) continue;
        return cli_fail(CLI_USAGE, "--tokens: %d (number %zu of the list) is not below the vocabulary's %llu", (int)tokens[i], i + 1,
                        (unsigned long long)info.n_vocab);
    }
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    /* without --prefill the size of a batch is ours to choose: as many rows of logits as take little memory */
    size_t some = CLI_MAX(CLI_MIN((size_t)LONGEST_BATCH, ((size_t)64 << 20) / sizeof(float) / CLI_MAX((size_t)info.n_vocab, (size_t)1)), (size_t)1);
    size_t first = CLI_MIN(v->prefill < 0 ? some : (size_t)v->prefill, n), step = v->prefill < 0 ? some : 1;
    kq_pool *pool = NULL;
    kq_session *s = NULL;
    kq_error e;
    int code;
    o.n_ctx = (uint32_t)n;
    o.n_batch = (uint32_t)CLI_MIN(CLI_MAX(first, step), (size_t)LONGEST_BATCH);
    o.state_type = v->kv == 0 ? KQ_STATE_F16 : KQ_STATE_F32;
    o.mode = v->exact ? KQ_EXACT : KQ_FAST;
    if (kq_pool_open(&pool, (int)v->threads, NULL, &e) || (o.pool = pool, kq_session_open(&s, m, &o, &e))) {
        code = cli_fail_kq(NULL, &e);
    } else {
        cli_output output;
        cli_signals_catch_stop();
        code = CLI_FAILED;
        if (cli_output_open(&output, v->output, path)) code = write_logits(s, tokens, n, first, step, (size_t)info.n_vocab, &output);
        cli_output_drop(&output);
    }
    kq_session_close(s);
    kq_pool_close(pool);
    return code;
}

static int run(const void *given) {
    const values *v = given;
    if (!v->tokens) return cli_fail_usage(&cli_logits, "which tokens? (--tokens 13,92,7)");
    if (!v->output) return cli_fail_usage(&cli_logits, "where to? (-o FILE, or -o - for standard output)");
    if (!strcmp(v->output, "-") && isatty(STDOUT_FILENO))
        return cli_fail_usage(&cli_logits, "-o -: standard output is a terminal, and logits are binary");
    const char *path = cli_model_path(v->model);
    if (!path) return CLI_FAILED;
    int32_t *tokens;
    size_t n = parse_tokens(v->tokens, &tokens);
    int code = CLI_USAGE;
    if (n > 0) {
        kq_model *m;
        code = cli_model_open(&m, path, true);
        if (!code) {
            code = evaluate_model(v, path, m, tokens, n);
            kq_model_close(m);
        }
    }
    free(tokens);
    return code;
}

const cli_command cli_logits = {
    .name = "logits",
    .usage = "[-m MODEL] --tokens IDS [--prefill N] -o FILE [--exact]",
    .summary = "Write the logits after each of given tokens",
    .description = "Evaluates tokens and writes, little-endian and without padding: int32 n, int32 vocabulary, int32 tokens[n],\n"
                   "float32 logits[n][vocabulary]. The file appears only when it is complete. The model's tokenizer is not needed.",
    .examples = "kquant logits -m model.gguf --tokens 13,92,7 --exact -o logits.bin",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .needs_arguments = true,
    .run = run,
};
