/* SPDX-License-Identifier: MIT */
/* kquant bench -m, --shape: whole models. ppN evaluates N tokens at once and asks for the last one's logits; tgN evaluates N tokens one by
 * one, with logits, from an empty context: the tests of llama-bench, whose names they have. Tokens are arbitrary, none is sampled.
 *
 * The roof of tg is reading the weights that a token needs (of experts the share that it uses; the embedding counts only where it is the
 * output too); that of pp is multiplying by them in the unit that its products use, or reading them, whichever takes longer. Neither counts
 * attention or its cache. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHARED, EXPERTS, N_PARTS };
typedef struct cost {
    double bytes[N_PARTS], weights[N_PARTS]; /* of layers (and bytes of the output) */
    double output;                           /* weights, for logits */
    double experts, used;                    /* 1 of 1: none */
    uint32_t codec[N_PARTS];                 /* of the largest tensor */
} cost;

static int read_experts(cost *c, const kq_gguf *g) {
    char key[128];
    uint64_t experts = 0, used = 0;
    kq_string architecture;
    kq_error e;
    kq_status status = kq_gguf_get_string(g, "general.architecture", &architecture, &e);
    if (!status) {
        snprintf(key, sizeof key, "%.*s.expert_count", (int)CLI_MIN(architecture.size, (size_t)100), architecture.data);
        status = kq_gguf_get_u64_or(g, key, 0, 0, UINT32_MAX, &experts, &e);
    }
    if (!status) {
        snprintf(key, sizeof key, "%.*s.expert_used_count", (int)CLI_MIN(architecture.size, (size_t)100), architecture.data);
        status = kq_gguf_get_u64_or(g, key, experts, 0, experts, &used, &e);
    }
    c->experts = experts ? (double)experts : 1;
    c->used = experts ? (double)CLI_MAX(used, (uint64_t)1) : 1;
    return status ? cli_fail_kq(kq_gguf_path(g), &e) : CLI_FINE;
}

static int cost_of(cost *c, const kq_gguf *g) {
    uint64_t largest[N_PARTS] = {0};
    *c = (cost){.codec = {KQ_F32, KQ_F32}};
    int code = read_experts(c, g);
    bool tied = !kq_gguf_tensor_find(g, "output.weight");
    for (size_t i = 0; i < kq_gguf_n_tensors(g) && !code; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        bool embedding = !strcmp(t->name.data, "token_embd.weight"), output = !strcmp(t->name.data, "output.weight");
        int part = strstr(t->name.data, "_exps.") ? EXPERTS : SHARED;
        if (embedding && !tied) continue;
        c->bytes[part] += (double)t->bytes;
        *(embedding || output ? &c->output : &c->weights[part]) += (double)t->weights;
        if (t->bytes > largest[part] && t->n_dims > 1) {
            largest[part] = t->bytes;
            c->codec[part] = t->codec;
        }
    }
    return code;
}

/* The share of the experts that n tokens touch, if they choose at random. */
static double touched(const cost *c, size_t n) {
    double untouched = 1;
    for (size_t i = 0; i < n && untouched > 1e-6; i++) untouched *= 1 - c->used / c->experts;
    return 1 - untouched;
}

typedef struct run_state {
    const bench_values *v;
    bench_report *report;
    kq_pool *pool;
    kq_device *device; /* to ask */
    kq_session *session;
    bench_llama *peer; /* or NULL */
    int32_t *tokens;
    float *logits;
    uint8_t *memory;
    cost cost;
    const char *name; /* of the codec, or of the shape */
} run_state;

/* Tokens a second; negative after an error message. A prompt goes in batches as a session takes them, so that Ctrl-C is heard in between. */
static double speed(run_state *s, bool prompt, size_t n, int64_t threads) {
    enum { BATCH = 512 };
    kq_error e;
    kq_status status = kq_session_rewind(s->session, 0, &e);
    double start = bench_now(threads);
    for (size_t i = 0, size; i < n && !status && !cli_stopped(); i += size) {
        size = prompt ? CLI_MIN(n - i, (size_t)BATCH) : 1;
        status = kq_session_append(s->session, s->tokens + i, size, s->logits, !prompt || i + size == n, &e);
    }
    double seconds = bench_now(threads) - start;
    if (status) cli_fail_kq(NULL, &e);
    return status ? -1 : (double)n / seconds;
}

/* What multiplies by the two parts' weights, how fast, and how long a token takes of it. */
typedef struct units {
    kq_roof kind[N_PARTS];
    double rates[N_PARTS][BENCH_MAX_RUNS];
} units;

static void choose_units(units *u, const run_state *s, double together, double part) {
    const cost *c = &s->cost;
    u->kind[SHARED] = bench_unit(s->device, c->codec[SHARED], together);
    u->kind[EXPERTS] = bench_unit(s->device, c->codec[EXPERTS], together * c->used / (c->experts * part));
}

static void measure_units(units *u, const run_state *s, size_t run) {
    u->rates[SHARED][run] = bench_roof(u->kind[SHARED], s->pool, NULL, 0, 2048);
    u->rates[EXPERTS][run] = u->rates[SHARED][run];
    if (u->kind[EXPERTS] != u->kind[SHARED]) u->rates[EXPERTS][run] = bench_roof(u->kind[EXPERTS], s->pool, NULL, 0, 2048);
}

/* Seconds of `tokens` tokens, of which `wanted` give logits; *longer: the unit that takes most of them. */
static double time_of_units(units *u, const cost *c, size_t runs, double tokens, double wanted, kq_roof *longer) {
    double shared = 2 * (c->weights[SHARED] * tokens + c->output * wanted) / bench_median(u->rates[SHARED], runs);
    double experts = 2 * c->weights[EXPERTS] * c->used / c->experts * tokens / bench_median(u->rates[EXPERTS], runs);
    *longer = u->kind[experts > shared ? EXPERTS : SHARED];
    return shared + experts;
}

static int add_line(run_state *s, bool prompt, size_t n) {
    double ours[BENCH_MAX_RUNS], theirs[BENCH_MAX_RUNS] = {0}, reads[BENCH_MAX_RUNS];
    int64_t threads = kq_pool_threads(s->pool);
    size_t runs = (size_t)s->v->repetitions, warm = prompt ? CLI_MIN(n, (size_t)64) : CLI_MIN(n, (size_t)4), together = prompt ? n : 1;
    double part = touched(&s->cost, together);
    units u;
    choose_units(&u, s, (double)together, part);
    if (speed(s, prompt, warm, threads) < 0 || (s->peer && bench_llama_speed(s->peer, prompt, (int64_t)warm, threads) < 0)) return CLI_FAILED;
    for (size_t i = 0; i < runs; i++) {
        char label[64];
        snprintf(label, sizeof label, "%s%zu, %d threads", prompt ? "pp" : "tg", n, (int)threads);
        cli_bar(label, (double)i / (double)runs);
        reads[i] = bench_roof(KQ_ROOF_READ, s->pool, s->memory, (size_t)s->v->megabytes << 20, 1);
        measure_units(&u, s, i);
        ours[i] = speed(s, prompt, n, threads);
        theirs[i] = s->peer ? bench_llama_speed(s->peer, prompt, (int64_t)n, threads) : 0;
        if (cli_stopped()) return cli_stopped_code();
        if (ours[i] < 0 || theirs[i] < 0) return CLI_FAILED;
    }
    kq_roof unit;
    double tokens = (double)n, bytes = s->cost.bytes[SHARED] + part * s->cost.bytes[EXPERTS];
    double by_memory = bytes / bench_median(reads, runs) * tokens / (double)together;
    double by_unit = time_of_units(&u, &s->cost, runs, tokens, prompt ? 1 : tokens, &unit);
    bool bound_by_unit = by_unit > by_memory && isfinite(by_unit); /* a machine may lack a roof of its unit */
    bench_line line = {.test = prompt ? "pp" : "tg", .codec = s->name, .m = n, .threads = threads, .place = "", .unit = "tok/s", .note = ""};
    line.roof_name = bench_roof_name(bound_by_unit ? unit : KQ_ROOF_READ);
    line.roof = tokens / (bound_by_unit ? by_unit : by_memory);
    line.speed = bench_median(ours, runs);
    line.seconds = tokens / line.speed;
    line.peer = bench_median(theirs, runs);
    bench_add(s->report, &line);
    return CLI_FINE;
}

static int with_threads(run_state *s, const kq_model *m, int threads, size_t longest) {
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    kq_error e;
    if (kq_pool_open(&s->pool, threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    o.pool = s->pool;
    o.n_ctx = (uint32_t)longest;
    o.mode = s->v->exact ? KQ_EXACT : KQ_FAST;
    int code = kq_session_open(&s->session, m, &o, &e) ? cli_fail_kq(kq_gguf_path(kq_model_file(m)), &e) : CLI_FINE;
    kq_device_options d = KQ_OPTIONS_INIT(kq_device_options);
    d.mode = o.mode;
    if (!code && kq_device_open(&s->device, &d, &e)) code = cli_fail_kq(NULL, &e);
    for (int generate = 0; generate < 2; generate++) {
        const bench_list *list = generate ? &s->v->generate : &s->v->prompt;
        for (size_t i = 0; i < list->n && !code; i++) {
            if (list->items[i]) code = add_line(s, !generate, (size_t)list->items[i]);
        }
    }
    kq_session_close(s->session);
    kq_device_close(s->device);
    kq_pool_close(s->pool);
    s->session = NULL;
    s->device = NULL;
    s->pool = NULL;
    return code;
}

int bench_model(const bench_values *v, const bench_peer *p, char *path, bool temporary, bench_report *r) {
    run_state s = {.v = v, .report = r, .name = temporary ? v->shape : ""};
    kq_model *m;
    size_t longest = 1;
    int code = cli_model_open(&m, path, true);
    if (code) {
        if (temporary) bench_shape_remove(path);
        return code;
    }
    for (size_t i = 0; i < v->prompt.n; i++) longest = CLI_MAX(longest, (size_t)v->prompt.items[i]);
    for (size_t i = 0; i < v->generate.n; i++) longest = CLI_MAX(longest, (size_t)v->generate.items[i]);
    kq_model_info info = kq_model_describe(m);
    s.tokens = cli_alloc(longest, sizeof *s.tokens);
    s.logits = cli_alloc(info.n_vocab, sizeof *s.logits);
    s.memory = bench_memory((size_t)v->megabytes << 20);
    memset(s.memory, 1, (size_t)v->megabytes << 20);
    for (size_t i = 0; i < longest; i++) s.tokens[i] = (int32_t)((i * 7919 + 1) % info.n_vocab);
    code = cost_of(&s.cost, kq_model_file(m));
    if (!s.name[0]) s.name = kq_codec_describe(s.cost.codec[s.cost.bytes[EXPERTS] > s.cost.bytes[SHARED] ? EXPERTS : SHARED])->name;
    if (!code && p && bench_peer_runs_models(p)) {
        s.peer = bench_llama_open(p, path, (uint32_t)longest, s.tokens);
        if (!s.peer) code = CLI_FAILED;
    }
    bool needed = p && bench_peer_runs_models(p) && bench_peer_runs_program(p);
    if (temporary && !needed) bench_shape_remove(path); /* it is mapped: nothing is left behind, whatever happens */
    for (size_t i = 0; i < v->threads.n && !code; i++) code = with_threads(&s, m, (int)v->threads.items[i], longest);
    bench_llama_close(s.peer);
    free(s.tokens);
    free(s.logits);
    free(s.memory);
    kq_model_close(m);
    if (temporary && needed) bench_shape_remove(path);
    return code;
}
