/* SPDX-License-Identifier: MIT */
/* kquant verify: whether a model is intact, and whether it is the one that a manifest describes. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *model, *manifest, *write_manifest;
    int64_t threads;
    bool json, no_forward;
} values;

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model), .help = "the file or folder, instead of the argument"},
    {.names = "--manifest", CLI_IS_FILE(manifest), .help = "compare with this manifest"},
    {.names = "--write-manifest", CLI_IS_FILE(write_manifest), .help = "write a manifest of the model"},
    {.names = "--no-forward", CLI_IS_FLAG(no_forward), .help = "do not run the model"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON"},
};

typedef struct difference {
    kq_difference what;
    char *name;
} difference;

/* Everything of one run. Freed by release, whatever was reached. */
typedef struct checking {
    const values *v;
    const char *path;
    kq_pool *pool;
    kq_gguf *file;
    kq_verification *checks;
    difference *differences;
    size_t n_differences, n_bad; /* n_bad: tensors that are not finite */
    const char *forward;         /* "finite", "not finite", or "not run" */
    char why[200];               /* it was not run */
} checking;

static void release(checking *c) {
    for (size_t i = 0; i < c->n_differences; i++) free(c->differences[i].name);
    free(c->differences);
    kq_verify_close(c->checks);
    kq_gguf_close(c->file);
    kq_pool_close(c->pool);
}

static bool progress(void *ctx, double done) {
    (void)ctx;
    cli_bar("verifying", done);
    return !cli_stopped();
}

static int check_file(checking *c) {
    kq_error e;
    kq_source_options so = KQ_OPTIONS_INIT(kq_source_options);
    kq_verify_options o = KQ_OPTIONS_INIT(kq_verify_options);
    so.lazy = true;
    cli_signals_file(c->path);
    if (kq_source_open(&c->file, c->path, &so, &e)) return cli_fail_kq(c->path, &e);
    if (kq_pool_open(&c->pool, (int)c->v->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    o.pool = c->pool;
    o.progress = progress;
    kq_status status = kq_verify_open(&c->checks, c->file, &o, &e);
    cli_bar_clear();
    if (status) return cli_fail_kq(c->path, &e);
    const kq_tensor_check *t;
    for (size_t i = 0; (t = kq_verify_tensor_at(c->checks, i)) != NULL; i++) c->n_bad += t->bad_blocks > 0;
    return CLI_FINE;
}

static void note_difference(void *ctx, kq_difference what, kq_string name) {
    checking *c = ctx;
    c->differences = cli_grow(c->differences, c->n_differences + 1, sizeof *c->differences);
    c->differences[c->n_differences++] = (difference){what, cli_show(name.data, name.size, 0, false)};
}

static int manifests(checking *c) {
    kq_error e;
    const values *v = c->v;
    if (v->manifest && kq_manifest_compare(c->checks, v->manifest, note_difference, c, &e)) return cli_fail_kq(v->manifest, &e);
    if (!v->write_manifest) return CLI_FINE;
    if (kq_gguf_is_file(c->file, v->write_manifest)) {
        return cli_fail(CLI_FAILED, "%s: is the model itself; choose another name for the manifest", v->write_manifest);
    }
    return kq_manifest_write(c->checks, v->write_manifest, &e) ? cli_fail_kq(v->write_manifest, &e) : CLI_FINE;
}

/* ---- the forward pass ----------------------------------------------------------------------------------------------------- */

enum { TOKENS = 16 };

static int run_model(checking *c, const kq_model *m) {
    kq_error e;
    kq_session *s;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    size_t n_vocab = (size_t)kq_model_describe(m).n_vocab;
    int32_t tokens[TOKENS];
    o.pool = c->pool;
    o.n_ctx = TOKENS;
    o.state_type = KQ_STATE_F32;
    for (size_t i = 0; i < TOKENS; i++) tokens[i] = (int32_t)(i * n_vocab / TOKENS); /* all over the vocabulary */
    if (kq_session_open(&s, m, &o, &e)) return cli_fail_kq(c->path, &e);
    float *logits = cli_alloc(n_vocab, TOKENS * sizeof *logits);
    int code = kq_session_append(s, tokens, TOKENS, logits, TOKENS, &e) ? cli_fail_kq(c->path, &e) : CLI_FINE;
    c->forward = "finite";
    for (size_t i = 0; i < n_vocab * TOKENS; i++) {
        if (!isfinite(logits[i])) c->forward = "not finite";
    }
    free(logits);
    kq_session_close(s);
    return code;
}

static int forward(checking *c) {
    c->forward = "not run";
    if (c->v->no_forward || !kq_gguf_find(c->file, "general.architecture") || kq_gguf_n_tensors(c->file) == 0) {
        snprintf(c->why, sizeof c->why, "%s", c->v->no_forward ? "--no-forward" : "the file holds no model that could be run");
        return CLI_FINE;
    }
    kq_error e;
    kq_model *m;
    kq_model_options o = KQ_OPTIONS_INIT(kq_model_options);
    o.no_tokenizer = true;
    kq_status status = kq_model_open(&m, c->path, &o, &e);
    if (status == KQ_E_UNSUPPORTED) {
        snprintf(c->why, sizeof c->why, "%s", e.text);
        return CLI_FINE;
    }
    if (status) return cli_fail_kq(c->path, &e);
    int code = run_model(c, m);
    kq_model_close(m);
    return code;
}

/* ---- the report ----------------------------------------------------------------------------------------------------------- */

static const char *const words[] = {"other bytes", "another codec or shape", "missing in the model", "not in the manifest", "other metadata"};

static bool is_intact(const checking *c) { return !c->n_bad && !c->n_differences && strcmp(c->forward, "not finite") != 0; }

static void report_json(const checking *c) {
    const kq_tensor_check *t;
    cli_json j = {.out = stdout};
    cli_json_object(&j, NULL);
    cli_json_string(&j, "model", c->path);
    cli_json_bool(&j, "intact", is_intact(c));
    cli_json_u64(&j, "tensors", kq_verify_n_tensors(c->checks));
    cli_json_array(&j, "not_finite");
    for (size_t i = 0; (t = kq_verify_tensor_at(c->checks, i)) != NULL; i++) {
        if (!t->bad_blocks) continue;
        cli_json_object(&j, NULL);
        cli_json_bytes(&j, "tensor", t->tensor->name.data, t->tensor->name.size);
        cli_json_u64(&j, "blocks", t->bad_blocks);
        cli_json_u64(&j, "row", t->row);
        cli_json_u64(&j, "block", t->block);
        cli_json_end(&j, '}');
    }
    cli_json_end(&j, ']');
    cli_json_array(&j, "differences");
    for (size_t i = 0; i < c->n_differences; i++) {
        cli_json_object(&j, NULL);
        cli_json_string(&j, "tensor", c->differences[i].name);
        cli_json_string(&j, "what", words[c->differences[i].what]);
        cli_json_end(&j, '}');
    }
    cli_json_end(&j, ']');
    cli_json_string(&j, "forward", c->forward);
    if (c->why[0]) cli_json_string(&j, "forward_why", c->why);
    cli_json_end(&j, '}');
}

static void report_text(const checking *c) {
    const kq_tensor_check *t;
    printf("structure  fine\n");
    printf("tensors    %zu, of which %zu are not finite\n", kq_verify_n_tensors(c->checks), c->n_bad);
    for (size_t i = 0; (t = kq_verify_tensor_at(c->checks, i)) != NULL; i++) {
        if (!t->bad_blocks) continue;
        char *name = cli_show(t->tensor->name.data, t->tensor->name.size, 0, false);
        printf("  %s: %llu blocks, the first in row %llu, block %llu\n", name, (unsigned long long)t->bad_blocks, (unsigned long long)t->row,
               (unsigned long long)t->block);
        free(name);
    }
    if (c->v->manifest) printf("manifest   %s\n", c->n_differences ? "differs" : "the same");
    for (size_t i = 0; i < c->n_differences; i++) printf("  %s: %s\n", c->differences[i].name, words[c->differences[i].what]);
    char *why = cli_show(c->why, strlen(c->why), 0, false);
    printf("forward    %s%s%s\n", c->forward, *why ? ": " : "", why);
    free(why);
}

static int run(const void *given) {
    const values *v = given;
    if (v->model && v->common.n_args) return cli_fail_usage(&cli_verify, "give the model as an argument or with -m, not both");
    const char *path = v->common.n_args ? v->common.args[0] : v->model;
    if (!path) return cli_fail_usage(&cli_verify, "which model?");
    checking c = {.v = v, .path = path};
    cli_signals_catch_stop();
    int code = check_file(&c);
    if (!code) code = forward(&c);
    if (!code) code = manifests(&c);
    if (!code) {
        (v->json ? report_json : report_text)(&c);
        if (!is_intact(&c)) code = CLI_FAILED;
    }
    release(&c);
    return code;
}

const cli_command cli_verify = {
    .name = "verify",
    .usage = "MODEL [--manifest FILE] [--write-manifest FILE] [--json]",
    .summary = "Check that a model is intact",
    .description = "Checks the structure of a file or a folder, reads every byte, looks for scales and weights that are NaN or infinite, runs a few "
                   "tokens where the family runs here, and compares hashes with a manifest.\n\n"
                   "Exit: 0 the model is intact, 1 it differs from the manifest or holds what is not finite, 3 the file is bad.",
    .examples = "kquant verify model.gguf --write-manifest model.sha256\n"
                "kquant verify model.gguf --manifest model.sha256",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 1,
    .needs_arguments = true,
    .run = run,
};
