/* SPDX-License-Identifier: MIT */
/* kquant quantize: makes a quantised model. */
#include "cli/quantize.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct values {
    cli_values common;
    const char *preset, *recipe, *imatrix, *output_type, *embedding_type, *target_size, *max_shard_size;
    cli_texts tensor_types;
    double target_bpw;
    bool list_presets, list_types, pure, leave_output, allow_requantize, dry_run, json, no_error, no_resume, quiet;
    int64_t threads;
    int format;
} values;

enum { FORMAT_AUTO, FORMAT_GGUF, FORMAT_CHECKPOINT }; /* in the order of --format's choices */

static const cli_option options[] = {
    {.kind = CLI_HEADING, .help = "What the tensors become"},
    {.names = "--preset", CLI_IS_TEXT(preset, "NAME"), .help = "a recipe that comes with kquant, instead of TYPE: --list-presets shows them"},
    {.names = "--recipe", CLI_IS_FILE(recipe), .help = "a recipe of your own, instead of TYPE: lines of \"pattern = codec\", the last match wins"},
    {.names = "--target-bpw", CLI_IS_NUMBER(target_bpw, "X", 0.01, 64),
     .help = "instead of TYPE: codecs chosen tensor by tensor, by measured error, for X bits per weight"},
    {.names = "--target-size", CLI_IS_TEXT(target_size, "SIZE"), .help = "the same for a file of at most SIZE: 900M, 3.5G, 4GiB"},
    {.names = "--imatrix", CLI_IS_FILE(imatrix), .help = "importance matrix, in GGUF or in the old form"},
    {.names = "--tensor-type", CLI_IS_TEXTS(tensor_types, "PATTERN=CODEC"),
     .help = "tensors with PATTERN in their name take CODEC; may be given several times, the last match wins"},
    {.names = "--output-tensor-type", CLI_IS_TEXT(output_type, "CODEC"), .help = "of output.weight"},
    {.names = "--token-embedding-type", CLI_IS_TEXT(embedding_type, "CODEC"), .help = "of token_embd.weight"},
    {.names = "--leave-output-tensor", CLI_IS_FLAG(leave_output), .help = "output.weight stays as it is"},
    {.names = "--pure", CLI_IS_FLAG(pure), .help = "TYPE's codec for every tensor, instead of its mixture"},
    {.names = "--allow-requantize", CLI_IS_FLAG(allow_requantize), .help = "take tensors that are quantised already; what they lost stays lost"},
    {.kind = CLI_HEADING, .help = "Output"},
    {.names = "--format", CLI_IS_CHOICE(format, "FORM", "auto gguf checkpoint"), .fallback = "auto",
     .help = "gguf is a file; checkpoint a folder of safetensors with K-quants, as mlx-kquant has them; auto is gguf where OUT ends in .gguf"},
    {.names = "--max-shard-size", CLI_IS_TEXT(max_shard_size, "SIZE"), .fallback = "5G", .help = "of a checkpoint: no file holds more, unless one tensor does"},
    {.names = "--no-resume", CLI_IS_FLAG(no_resume), .help = "begin anew, even where a run before was broken off"},
    {.names = "--dry-run", CLI_IS_FLAG(dry_run), .help = "show the table, the size and the time that it would take; write nothing"},
    {.names = "--no-error", CLI_IS_FLAG(no_error), .help = "do not measure errors, which costs decoding what was encoded"},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON instead of the table"},
    {.names = "-q --quiet", CLI_IS_FLAG(quiet), .help = "no bars and notes"},
    {.names = "--list-presets", CLI_IS_FLAG(list_presets), .help = "print the presets as recipes; needs no other argument"},
    {.names = "--list-types", CLI_IS_FLAG(list_types), .help = "print the names that TYPE may be; needs no other argument"},
    {.kind = CLI_HEADING, .help = "Machine"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
};

/* ---- arguments ---------------------------------------------------------------------------------------------------------- */

typedef struct request {
    const values *v;
    const char *input, *output, *type;
    int threads;
    uint64_t target_bytes, max_shard_bytes;
    bool checkpoint;
    char *recipe;
    kq_quant_override overrides[CLI_COUNT(((cli_texts *)NULL)->items)];
} request;

static int unknown_type(const char *name) {
    char upper[32];
    size_t length = strlen(name), best = SIZE_MAX, i = 0;
    const kq_quant_type *nearest = NULL;
    for (const kq_quant_type *t; (t = kq_quant_type_at(i)) != NULL; i++) {
        size_t k = 0;
        for (; k < length && k + 1 < sizeof upper; k++) upper[k] = (char)toupper((unsigned char)name[k]);
        upper[k] = 0;
        size_t distance = cli_distance(upper, t->name, strlen(t->name));
        if (distance >= best) continue;
        best = distance;
        nearest = t;
    }
    return cli_fail_usage(&cli_quantize, "no type is named '%s'; did you mean %s? (--list-types shows all)", name,
                          nearest ? nearest->name : "Q4_K_M");
}

/* "3.5G", "900M", "4GiB", "1000000": bytes; K, M, G and T are 1024 each, as file sizes are shown. 0: no size. */
static uint64_t parse_size(const char *text) {
    static const char units[] = "KMGT";
    char *end;
    if (!isdigit((unsigned char)*text)) return 0;
    double v = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) v *= 1024;
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B' || (unit && *end == 'b')) end++;
    return *end || !(v >= 1 && v < 9e18) ? 0 : (uint64_t)v;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* IN [OUT] [TYPE] [THREADS], in llama-quantize's order. */
static int read_arguments(request *r) {
    const values *v = r->v;
    char **args = v->common.args;
    int n = v->common.n_args, given = (v->preset != NULL) + (v->recipe != NULL) + (v->target_size != NULL) + (v->target_bpw > 0);
    int64_t threads = v->threads;
    if (given > 1) return cli_fail_usage(&cli_quantize, "give one of --preset, --recipe, --target-bpw and --target-size");
    if (n == 0) return cli_fail_usage(&cli_quantize, "which model? (kquant quantize IN OUT TYPE)");
    r->input = args[0];
    if (n > 2 && cli_parse_whole(args[n - 1], 0, 512, &threads)) n--;
    if (!given) {
        if (n < 2) return cli_fail_usage(&cli_quantize, "which type? (kquant quantize IN OUT TYPE; --list-types shows them)");
        r->type = args[--n];
        if (!kq_quant_type_find(r->type)) return unknown_type(r->type);
    }
    if (n > 2) {
        return cli_fail_usage(&cli_quantize, "unexpected argument '%s'%s", args[n - 1],
                              given ? "; what the tensors become is given by an option" : "");
    }
    for (size_t k = n == 2 ? strlen(args[1]) : 0; k > 1 && args[1][k - 1] == '/';) args[1][--k] = 0; /* a folder's name as shells complete it */
    r->output = n == 2 ? args[1] : NULL;
    if (r->output && !*r->output) return cli_fail_usage(&cli_quantize, "the name of the output is empty");
    if (!r->output && !v->dry_run) return cli_fail_usage(&cli_quantize, "where to? (kquant quantize IN OUT TYPE; --dry-run writes nothing)");
    r->threads = (int)threads;
    r->checkpoint = v->format == FORMAT_CHECKPOINT || (v->format == FORMAT_AUTO && r->output && !ends_with(r->output, ".gguf"));
    if (v->max_shard_size && (r->max_shard_bytes = parse_size(v->max_shard_size)) == 0) {
        return cli_fail_usage(&cli_quantize, "--max-shard-size: '%s' is no size, such as 500M or 5G", v->max_shard_size);
    }
    if (v->target_size && (r->target_bytes = parse_size(v->target_size)) == 0) {
        return cli_fail_usage(&cli_quantize, "--target-size: '%s' is no size, such as 900M, 3.5G or 4GiB", v->target_size);
    }
    return CLI_FINE;
}

/* PATTERN=CODEC, cut in place. */
static int read_overrides(request *r) {
    const cli_texts *given = &r->v->tensor_types;
    for (int i = 0; i < given->n; i++) {
        const char *text = given->items[i], *equals = strrchr(text, '=');
        if (!equals || equals == text || !equals[1]) {
            return cli_fail_usage(&cli_quantize, "--tensor-type: '%s' is not PATTERN=CODEC, as in attn_v=q6_k", text);
        }
        char *pattern = cli_alloc((size_t)(equals - text) + 1, 1);
        memcpy(pattern, text, (size_t)(equals - text));
        r->overrides[i] = (kq_quant_override){.pattern = pattern, .codec = equals + 1};
    }
    return CLI_FINE;
}

static void drop_request(request *r) {
    for (int i = 0; i < r->v->tensor_types.n; i++) free((void *)(uintptr_t)r->overrides[i].pattern);
    free(r->recipe);
}

/* ---- the plan ------------------------------------------------------------------------------------------------------------- */

typedef struct state {
    const request *r;
    kq_pool *pool;
    kq_gguf *source;
    kq_imatrix *imatrix;
    kq_quant_plan *plan;
    cli_made *made;
    size_t kept;
} state;

static bool plan_progress(void *ctx, uint64_t done, uint64_t total, const char *tensor) {
    (void)ctx;
    (void)tensor;
    cli_bar("measuring", total ? (double)done / (double)total : 1);
    return !cli_stopped();
}

static int make_plan(state *s) {
    const request *r = s->r;
    const values *v = r->v;
    kq_quant_plan_options o = KQ_OPTIONS_INIT(kq_quant_plan_options);
    o.type = r->type;
    o.preset = v->preset;
    o.recipe = r->recipe;
    o.recipe_name = v->recipe;
    o.target_bpw = v->target_bpw;
    o.target_bytes = r->target_bytes;
    o.overrides = r->overrides;
    o.n_overrides = (size_t)v->tensor_types.n;
    o.output_codec = v->leave_output ? "keep" : v->output_type;
    o.embedding_codec = v->embedding_type;
    o.pure = v->pure;
    o.allow_requantize = v->allow_requantize;
    o.imatrix = s->imatrix;
    o.imatrix_name = v->imatrix;
    o.pool = s->pool;
    o.progress = plan_progress;
    kq_error e;
    kq_status status = kq_quant_plan_open(&s->plan, s->source, &o, &e);
    cli_bar_clear();
    return status ? cli_fail_kq(NULL, &e) : CLI_FINE;
}

static int open_all(state *s) {
    const request *r = s->r;
    const values *v = r->v;
    kq_error e;
    kq_source_options o = KQ_OPTIONS_INIT(kq_source_options);
    o.lazy = true;
    size_t size = 0;
    if (v->recipe && !cli_read_file(v->recipe, &((request *)(uintptr_t)r)->recipe, &size)) return CLI_FAILED;
    if (r->recipe && strlen(r->recipe) != size) return cli_fail(CLI_BAD_FILE, "%s: holds a byte 0, so it is no text", v->recipe);
    cli_signals_file(r->input);
    if (kq_pool_open(&s->pool, r->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    if (kq_source_open(&s->source, r->input, &o, &e)) return cli_fail_kq(r->input, &e);
    if (r->output && kq_gguf_is_file(s->source, r->output)) {
        return cli_fail(CLI_FAILED, "%s: is the model itself; choose another name for the output", r->output);
    }
    if (v->imatrix && kq_imatrix_open(&s->imatrix, v->imatrix, NULL, &e)) return cli_fail_kq(v->imatrix, &e);
    return make_plan(s);
}

/* ---- making it -------------------------------------------------------------------------------------------------------------- */

static bool progress(void *ctx, const kq_quant_choice *at, uint64_t done, uint64_t total) {
    (void)ctx;
    char label[32];
    char *name = cli_show(at->tensor->name.data, at->tensor->name.size, 28, true);
    snprintf(label, sizeof label, "%-28.28s", name);
    free(name);
    cli_bar(label, total ? (double)done / (double)total : 1);
    return !cli_stopped();
}

static void report(void *ctx, const kq_quantize_report *given) {
    state *s = ctx;
    s->made[given->index] = (cli_made){.done = true, .kept = given->kept, .error = given->error, .seconds = given->seconds};
    s->kept += given->kept;
}

/* What a run that did not end well leaves. */
static int broken_off(const state *s, int code) {
    size_t n = strlen(s->r->output) + 16;
    char *part = cli_alloc(n, 1);
    snprintf(part, n, "%s.kq-part", s->r->output);
    if (access(part, F_OK) == 0) cli_fail(code, "finished tensors are kept in %s: the same command goes on from there", part);
    free(part);
    return code;
}

static int make_model(state *s, double *seconds) {
    const request *r = s->r;
    kq_quantize_model_options o = KQ_OPTIONS_INIT(kq_quantize_model_options);
    o.pool = s->pool;
    o.form = r->checkpoint ? KQ_FORM_CHECKPOINT : KQ_FORM_GGUF;
    o.max_shard_bytes = r->max_shard_bytes;
    o.no_error = r->v->no_error;
    o.anew = r->v->no_resume;
    o.progress = progress;
    o.report = report;
    o.ctx = s;
    double begin = cli_seconds();
    kq_error e;
    s->made = cli_alloc(kq_quant_plan_size(s->plan), sizeof *s->made);
    kq_status status = kq_quantize_model(s->plan, r->output, &o, &e);
    cli_bar_clear();
    *seconds = cli_seconds() - begin;
    if (status) return broken_off(s, cli_fail_kq(r->output, &e));
    if (s->kept) cli_note("%zu of %zu tensors were there from a run before", s->kept, kq_quant_plan_size(s->plan));
    return CLI_FINE;
}

static int quantize(state *s) {
    const request *r = s->r;
    const values *v = r->v;
    double seconds = -1;
    cli_quantized q = {.input = r->input, .output = r->output, .plan = s->plan, .imatrix = s->imatrix, .imatrix_path = v->imatrix,
                       .checkpoint = r->checkpoint, .threads = kq_pool_threads(s->pool)};
    q.what = r->type ? kq_quant_type_find(r->type)->name : v->preset ? v->preset : v->recipe ? v->recipe : "target";
    cli_quantized_coverage(&q);
    if (v->dry_run) {
        seconds = cli_quantized_estimate(s->plan, s->pool, !v->no_error);
        if (seconds < 0) return cli_stopped() ? cli_stopped_code() : CLI_FAILED;
    } else {
        int code = make_model(s, &seconds);
        if (code) return code;
    }
    q.made = s->made;
    q.seconds = seconds;
    if (v->json) cli_quantized_json(&q);
    else cli_quantized_table(&q);
    return CLI_FINE;
}

static int list_types(void) {
    const kq_quant_type *t;
    for (size_t i = 0; (t = kq_quant_type_at(i)) != NULL; i++) {
        printf("%-12s%s%s\n", t->name, kq_codec_describe(t->codec)->name, t->needs_imatrix ? ", needs --imatrix" : "");
    }
    return CLI_FINE;
}

static int list_presets(void) {
    const kq_preset *p;
    for (size_t i = 0; (p = kq_preset_at(i)) != NULL; i++) printf("%s# --preset %s\n%s", i ? "\n" : "", p->name, p->recipe);
    return CLI_FINE;
}

static int run(const void *given) {
    const values *v = given;
    if (v->list_types) return list_types();
    if (v->list_presets) return list_presets();
    request r = {.v = v};
    cli_quiet = v->quiet;
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error as others are */
    int code = read_arguments(&r);
    if (!code) code = read_overrides(&r);
    if (!code) {
        state s = {.r = &r};
        cli_signals_catch_stop();
        code = open_all(&s);
        if (!code) code = quantize(&s);
        kq_quant_plan_close(s.plan);
        kq_imatrix_close(s.imatrix);
        kq_gguf_close(s.source);
        kq_pool_close(s.pool);
        free(s.made);
    }
    drop_request(&r);
    return code;
}

const cli_command cli_quantize = {
    .name = "quantize",
    .aliases = "convert",
    .usage = "IN OUT TYPE [THREADS] [--imatrix FILE] [--tensor-type PATTERN=CODEC] [--dry-run] [--json]",
    .summary = "Make a quantised model",
    .description =
        "Makes of IN (a GGUF, or a folder from Hugging Face or mlx-kquant) the model OUT, a GGUF or a folder, whose tensors have the "
        "codecs of TYPE: llama.cpp's names, in any case, with the bytes that llama.cpp gives them. Or of a preset, a recipe or a target "
        "size. COPY changes the form alone.\n\n"
        "OUT appears when it is complete, and replaces an older file or checkpoint of that name, never a folder of something else. "
        "A run that is interrupted or killed keeps the tensors that it finished beside it, in OUT.kq-part; the same command goes on from "
        "there, to the same bytes.\n\n"
        "The error of a tensor is the root of its summed squared errors over its summed squared weights, each times its importance where "
        "there is a matrix.",
    .examples = "kquant quantize bf16.gguf q4_k_m.gguf Q4_K_M\n"
                "kquant quantize bf16.gguf iq2_xs.gguf iq2_xs --imatrix imatrix.gguf\n"
                "kquant quantize bf16.gguf Q5_K_M --dry-run\n"
                "kquant quantize bf16.gguf mine.gguf Q4_K_M --tensor-type attn_v=q8_0\n"
                "kquant quantize q4_k_m.gguf checkpoint COPY",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 4,
    .needs_arguments = true,
    .run = run,
};
