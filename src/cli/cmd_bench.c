/* SPDX-License-Identifier: MIT */
/* kquant bench: how fast this machine does what kquant does, beside the machine's own limits and beside other engines. The parts are in
 * bench_*.c. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

typedef bench_values values;

static const cli_option options[] = {
    {.kind = CLI_HEADING, .help = "what"},
    {.names = "--matmul", CLI_IS_FLAG(matmul), .help = "products x w^T, x [M, K], w [N, K]"},
    {.names = "--gather", CLI_IS_FLAG(gather), .help = "products with experts: M tokens, --used of --experts matrices each"},
    {.names = "--embed", CLI_IS_FLAG(embed), .help = "M of N rows, looked up by index and decoded"},
    {.names = "--dequantize", CLI_IS_FLAG(dequantize), .help = "M rows decoded, one after another, on one thread"},
    {.names = "--encode", CLI_IS_FLAG(encode), .help = "encoders, without importances and with them"},
    {.names = "-m --model", CLI_IS_FILE(model), .help = "a model: pp is a prompt, tg tokens one by one"},
    {.names = "--shape", CLI_IS_TEXT(shape, "NAME"), .help = "the same of a model with random weights, made for the purpose: llama-1b, moe-1b "
                                                             "(32 experts, of which a token meets 8), tiny, tiny-moe"},
    {.kind = CLI_HEADING, .help = "how"},
    {.names = "--codec", CLI_IS_TEXT(codec, "LIST"), .help = "only these codecs: names with commas between them"},
    {.names = "-M", CLI_IS_TEXT(m_text, "LIST"), .help = "rows of activations, or rows to decode (default: by operation)"},
    {.names = "-N", CLI_IS_WHOLE(rows, "N", 16, 1 << 20), .help = "rows of weights, 4096 unless given; of an expert 768"},
    {.names = "-K", CLI_IS_WHOLE(cols, "N", 32, 1 << 20), .help = "weights in a row, 4096 unless given; of an expert 2048"},
    {.names = "--experts", CLI_IS_WHOLE(experts, "N", 1, 4096), .fallback = "128", .help = "matrices of --gather"},
    {.names = "--used", CLI_IS_WHOLE(used, "N", 1, 64), .fallback = "8", .help = "matrices that a token meets"},
    {.names = "--from", CLI_IS_CHOICE(place, "PLACE", "both memory cache"), .fallback = "both",
     .help = "where weights lie: products with many rows and experts are timed from memory only"},
    {.names = "--megabytes", CLI_IS_WHOLE(megabytes, "N", 1, 1 << 16), .fallback = "512", .help = "how much memory is walked through, so that no cache holds what is read"},
    {.names = "-p --n-prompt", CLI_IS_TEXT(prompt_text, "LIST"), .fallback = "512", .help = "of a model: tokens of a prompt; 0 for none"},
    {.names = "-n --n-gen", CLI_IS_TEXT(generate_text, "LIST"), .fallback = "128", .help = "of a model: tokens one by one; 0 for none"},
    {.names = "-t --threads", CLI_IS_TEXT(threads_text, "LIST"), .fallback = "1", .help = CLI_HELP_THREADS},
    {.names = "-r --repetitions", CLI_IS_WHOLE(repetitions, "N", 1, BENCH_MAX_RUNS), .fallback = "5", .help = "the median of so many turns counts"},
    {.names = "--exact", CLI_IS_FLAG(exact), .help = CLI_HELP_EXACT},
    {.names = "--peer", CLI_IS_FILE(peer), .help = "another engine, which takes turns: libggml-cpu.so (operations), libggml-base.so (encoders), "
                                                   "libllama.so or the program llama-bench (models)"},
    {.names = "--format", CLI_IS_CHOICE(format, "FORMAT", "table md csv json"), .fallback = "table", .help = "how the result is written"},
    {.names = "--json", CLI_IS_FLAG(json), .help = "the same as --format json"},
};

/* Whole numbers between least and most, with commas between them. */
static bool read_list(bench_list *out, const char *name, const char *text, int64_t least, int64_t most) {
    out->n = 0;
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t n = strcspn(at, ",");
        char number[24] = "";
        if (n < sizeof number) memcpy(number, at, n);
        if (out->n == BENCH_LIST || !cli_parse_whole(number, least, most, &out->items[out->n])) {
            char *shown = cli_show(text, strlen(text), 40, true);
            cli_fail_usage(&cli_bench, "%s '%s': it takes up to %d whole numbers from %d to %d, with commas between them", name, shown, (int)BENCH_LIST,
                           (int)least, (int)most);
            free(shown);
            return false;
        }
        out->n++;
    }
    return true;
}

/* Marks the codecs of a list; NULL: all that decode. */
static bool choose_codecs(const char *list, bool chosen[KQ_CODEC_LIMIT]) {
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT && !list; c++) {
        const kq_codec_info *info = kq_codec_describe(c);
        chosen[c] = info && info->decodes;
    }
    for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t n = strcspn(at, ",");
        char name[32] = "";
        if (n < sizeof name) memcpy(name, at, n);
        const kq_codec_info *info = kq_codec_find(name);
        if (!info || !info->decodes) {
            char *shown = cli_show(at, n, 40, true);
            cli_fail_usage(&cli_bench, "--codec: '%s' is no codec", shown);
            free(shown);
            return false;
        }
        chosen[info->codec] = true;
    }
    return true;
}

static bool prepare(bench_values *v) {
    if (!v->matmul && !v->gather && !v->embed && !v->dequantize && !v->encode && !v->model && !v->shape) {
        cli_fail_usage(&cli_bench, "say what to time: --matmul, --gather, --embed, --dequantize, --encode, -m FILE or --shape NAME");
        return false;
    }
    if (v->used > v->experts) {
        cli_fail_usage(&cli_bench, "--used %d: there are %d experts", (int)v->used, (int)v->experts);
        return false;
    }
    if (!read_list(&v->threads, "-t", v->threads_text, 0, 512) || !read_list(&v->m, "-M", v->m_text, 1, 4096) ||
        !read_list(&v->prompt, "-p", v->prompt_text, 0, 1 << 20) || !read_list(&v->generate, "-n", v->generate_text, 0, 1 << 20)) return false;
    char text[200];
    if (!choose_codecs(v->codec, v->chosen)) return false;
    if (bench_ops_check(v, text, sizeof text)) return true;
    cli_fail_usage(&cli_bench, "%s", text);
    return false;
}

static int run_models(const bench_values *v, const bench_peer *p, bench_report *r) {
    char path[4096];
    int code = CLI_FINE;
    if (v->model) {
        snprintf(path, sizeof path, "%s", v->model);
        code = bench_model(v, p, path, false, r);
    }
    if (code || !v->shape) return code;
    const kq_codec_info *codec = v->codec ? kq_codec_find(v->codec) : NULL;
    if (v->codec && !codec) return cli_fail_usage(&cli_bench, "--shape takes one codec, or none for Q4_K_M");
    code = bench_shape_make(v->shape, codec, path, sizeof path);
    if (code) return code;
    return bench_model(v, p, path, true, r);
}

static int run(const void *given) {
    bench_values v = *(const bench_values *)given;
    if (!prepare(&v)) return CLI_USAGE;
    bench_peer *p = NULL;
    if (v.peer && !(p = bench_peer_open(v.peer))) return CLI_FAILED;
    bench_report report = {0};
    int code = CLI_FINE;
    cli_signals_catch_stop();
    code = run_models(&v, p, &report); /* first: a peer forks, which must be before it has threads here */
    if (!code && (v.matmul || v.gather || v.embed || v.dequantize)) code = bench_ops(&v, p, &report);
    if (!code && v.encode) code = bench_encode(&v, p, &report);
    cli_bar_clear();
    if (!code && !report.n) {
        code = cli_fail_usage(&cli_bench, "nothing is left to time: experts lie in memory only, --dequantize runs on one thread, f32, f16 and bf16 are not "
                                          "encoded, -p 0 -n 0 asks nothing of a model, and no codec may have the shape");
    }
    if (!code) {
        bench_print(&report, &v);
        bool compared = !v.peer;
        for (size_t i = 0; i < report.n; i++) compared |= report.lines[i].peer > 0;
        if (!compared) cli_note("the peer %s can do nothing of this", v.peer);
    }
    bench_report_free(&report);
    bench_peer_close(p);
    return code;
}

const cli_command cli_bench = {
    .name = "bench",
    .usage = "WHAT [options]",
    .summary = "Measure the speed of what kquant does",
    .description =
        "Times operations, encoders and models. Each line has the roof that was measured in the same turns on the same threads, and the share of "
        "it that was reached: reading (or storing) memory, or the peak of the unit that multiplies, whichever takes longer for the shape. On one "
        "thread times are of the thread, so that other programs disturb less; on several they are of the clock.\n\n"
        "Another engine given with --peer takes turns with ours, on the same bytes. Ratios above 1 mean that kquant is faster.",
    .examples = "kquant bench --matmul --codec q4_k -M 1,8,512 -t 1,2\n"
                "kquant bench --shape llama-1b -t 1,2 --peer ./libllama.so\n"
                "kquant bench --encode --codec q4_k,q6_k --peer ./libggml-base.so --format md",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .needs_arguments = true,
    .run = run,
};
