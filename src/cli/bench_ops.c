/* SPDX-License-Identifier: MIT */
/* kquant bench --matmul --gather --embed --dequantize: operations on packed weights, from memory and from cache, beside their roofs.
 *
 * From memory: a block of memory larger than most caches is filled with matrices, and a call takes the next of them; the roof reads (or
 * stores) the same block. From cache: the first rows of the first matrix, half a megabyte for each thread, again and again; the roof reads
 * the same bytes. A product is bound by what takes longer: reading the weights, or multiplying in the unit that its kernels use. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

enum {
    CACHED_BYTES = 512 << 10,
    MOST_NODES = 256,
    ROUTINGS = 16,
    FEW_ROWS = 16 /* of activations: with more, where the weights lie hardly matters, and one call takes long enough */
};

typedef struct ops {
    const bench_values *v;
    const bench_peer *peer;
    bench_report *report;
    uint8_t *memory, *results; /* megabytes each; results only where they are large */
    size_t bytes;
    kq_device *device;
    kq_pool *pool;
    int64_t threads;
    kq_error error;
} ops;

/* One line under way. */
typedef struct work {
    const kq_codec_info *info;
    const char *test;
    size_t m, n, k, row_bytes, matrix_bytes, n_matrices;
    size_t experts, used;
    bool cached;
    size_t calls;        /* of a turn */
    size_t at;           /* the next matrix, or place of results */
    const float *x;
    float *y;
    int32_t *ids;        /* rows of embed and dequantize [m]; experts of gather [ROUTINGS][ids_pitch] */
    size_t ids_pitch;    /* m * used, up to a multiple of 32 bytes, which the peer wants */
    bool by_index;       /* embed */
    bench_graph *graph;  /* the peer's */
    size_t graph_calls;
} work;

/* ---- one call -------------------------------------------------------------------------------------------------------------- */

static bool call(ops *o, work *w) {
    size_t at = w->at++ % w->n_matrices;
    kq_weights weights = {.codec = w->info->codec, .data = o->memory + at * w->matrix_bytes, .rows = w->n, .cols = w->k};
    weights.bytes = w->n * w->row_bytes;
    if (w->experts) {
        weights.matrices = w->experts;
        weights.bytes *= w->experts;
        kq_activations x = {.type = KQ_F32, .data = w->x, .bytes = w->m * w->k * sizeof(float), .rows = w->m, .cols = w->k};
        size_t pairs = w->m * w->used;
        kq_results y = {.type = KQ_F32, .data = w->y, .bytes = pairs * w->n * sizeof(float), .rows = pairs, .cols = w->n};
        return !kq_matmul_gather(o->device, &x, &weights, NULL, w->ids + w->at % ROUTINGS * w->ids_pitch, pairs, &y, &o->error);
    }
    if (w->x) {
        kq_activations x = {.type = KQ_F32, .data = w->x, .bytes = w->m * w->k * sizeof(float), .rows = w->m, .cols = w->k};
        kq_results y = {.type = KQ_F32, .data = w->y, .bytes = w->m * w->n * sizeof(float), .rows = w->m, .cols = w->n};
        return !kq_matmul(o->device, &x, &weights, NULL, &y, &o->error);
    }
    size_t floats = w->m * w->k;
    float *to = (float *)(void *)o->results + at * floats;
    weights.data = o->memory;
    if (!w->by_index) return !kq_dequantize(w->info->codec, o->memory, w->m * w->row_bytes, floats, to, floats, &o->error);
    kq_results y = {.type = KQ_F32, .data = to, .bytes = floats * sizeof(float), .rows = w->m, .cols = w->k};
    return !kq_embed(o->device, &weights, w->ids, w->m, &y, &o->error);
}

/* The same calls as a list of the peer's. */
static void make_graph(ops *o, work *w) {
    w->graph_calls = CLI_MIN(w->calls, (size_t)MOST_NODES);
    if (!o->peer || !bench_peer_computes(o->peer, w->info)) return;
    w->graph = bench_graph_open(o->peer, w->graph_calls);
    bool fine = w->graph != NULL;
    for (size_t i = 0; i < w->graph_calls && fine; i++) {
        size_t at = i % w->n_matrices;
        const uint8_t *weights = o->memory + at * w->matrix_bytes;
        uint32_t codec = w->info->codec;
        if (w->experts) {
            const int32_t *ids = w->ids + i % ROUTINGS * w->ids_pitch;
            fine = bench_graph_gather(w->graph, codec, weights, w->experts, w->n, w->k, w->x, w->m, ids, w->used, w->y);
        } else if (w->x) {
            fine = bench_graph_matmul(w->graph, codec, weights, w->n, w->k, w->x, w->m, w->y);
        } else {
            fine = bench_graph_embed(w->graph, codec, o->memory, w->n, w->k, w->ids, w->m, (float *)(void *)o->results + at * w->m * w->k);
        }
    }
    if (fine) return;
    bench_graph_close(w->graph);
    w->graph = NULL;
}

/* ---- a line ---------------------------------------------------------------------------------------------------------------- */

/* How many calls a turn has: through all the matrices where the memory decides, else for some milliseconds. */
static bool choose_calls(ops *o, work *w, bool by_memory) {
    if (!call(o, w)) return false; /* warms up, and takes the scratch memory */
    double start = bench_now(o->threads);
    if (!call(o, w)) return false;
    double seconds = CLI_MAX(bench_now(o->threads) - start, 1e-7);
    size_t calls = (size_t)(0.01 / seconds) + 1;
    w->calls = by_memory && !w->cached ? CLI_MAX(w->n_matrices, (size_t)1) : CLI_MIN(calls, (size_t)10000);
    w->at = 0;
    return true;
}

/* Medians in turns: roofs, ours, the peer's. Seconds are of a call. */
typedef struct timing {
    double ours, peer, bytes_roof, unit_roof; /* a second */
} timing;

static int take_turns(ops *o, work *w, kq_roof bytes_kind, kq_roof unit, timing *t) {
    double ours[BENCH_MAX_RUNS], theirs[BENCH_MAX_RUNS] = {0}, memory[BENCH_MAX_RUNS], units[BENCH_MAX_RUNS];
    size_t runs = (size_t)o->v->repetitions, bytes = o->bytes;
    uint64_t rounds = 1;
    uint8_t *at = bytes_kind == KQ_ROOF_STORE ? o->results : o->memory;
    if (w->cached) {
        bytes = bytes_kind == KQ_ROOF_STORE ? w->m * w->k * sizeof(float) : w->n * w->row_bytes;
        bytes = CLI_MAX(bytes, (size_t)o->threads * 4096);
        rounds = ((size_t)64 << 20) / bytes + 1;
    }
    if (w->graph && !bench_graph_run(w->graph, o->threads)) return cli_fail(CLI_FAILED, "the peer fails at %s of %s", w->test, w->info->name);
    for (size_t i = 0; i < runs; i++) {
        if (cli_stopped()) return cli_stopped_code();
        memory[i] = bench_roof(bytes_kind, o->pool, at, bytes, rounds);
        units[i] = w->x ? bench_roof(unit, o->pool, NULL, 0, 2048) : 0;
        double start = bench_now(o->threads);
        for (size_t c = 0; c < w->calls && !cli_stopped(); c++) {
            if (!call(o, w)) return cli_fail_kq(NULL, &o->error);
        }
        ours[i] = (bench_now(o->threads) - start) / (double)w->calls;
        if (!w->graph) continue;
        start = bench_now(o->threads);
        if (!bench_graph_run(w->graph, o->threads)) return cli_fail(CLI_FAILED, "the peer fails at %s of %s", w->test, w->info->name);
        theirs[i] = (bench_now(o->threads) - start) / (double)w->graph_calls;
    }
    if (cli_stopped()) return cli_stopped_code();
    *t = (timing){bench_median(ours, runs), w->graph ? bench_median(theirs, runs) : 0, bench_median(memory, runs), bench_median(units, runs)};
    return CLI_FINE;
}

/* Measures a line and adds it. `moved`: bytes that a call reads or stores at least; `operations`: what it multiplies and adds. */
static int add_line(ops *o, work *w, kq_roof bytes_kind, double moved, double operations, double rows_together) {
    kq_roof unit = bench_unit(o->device, w->info->codec, rows_together);
    timing t = {0};
    if (!choose_calls(o, w, rows_together <= FEW_ROWS)) return cli_fail_kq(NULL, &o->error);
    make_graph(o, w);
    int code = take_turns(o, w, bytes_kind, unit, &t);
    bench_graph_close(w->graph);
    if (code) return code;
    bool by_unit = operations > 0 && t.unit_roof > 0 && operations / t.unit_roof > moved / t.bytes_roof;
    double amount = (by_unit ? operations : moved) * 1e-9;
    bench_line line = {.test = w->test, .codec = w->info->name, .m = w->m, .n = w->n, .k = w->k, .experts = w->experts, .used = w->used,
                       .threads = o->threads, .place = w->cached ? "cache" : "memory", .seconds = t.ours, .note = ""};
    line.unit = !by_unit ? "GB/s" : unit == KQ_ROOF_INT8 ? "GOP/s" : "GFLOP/s";
    line.roof_name = bench_roof_name(by_unit ? unit : bytes_kind);
    line.speed = amount / t.ours;
    line.roof = (by_unit ? t.unit_roof : t.bytes_roof) * 1e-9;
    line.peer = t.peer > 0 ? amount / t.peer : 0;
    bench_add(o->report, &line);
    return CLI_FINE;
}

/* ---- the operations ---------------------------------------------------------------------------------------------------------- */

/* The given list, or the operation's own. */
static bench_list rows_list(const bench_values *v, const bench_list *own) { return v->m.n ? v->m : *own; }

typedef enum operation { MATMUL, GATHER, EMBED, DEQUANTIZE, N_OPS } operation;
static const char *const op_names[N_OPS] = {"matmul", "gather", "embed", "dequantize"};

static size_t n_of(const bench_values *v, operation op) { return v->rows ? (size_t)v->rows : op == GATHER ? 768 : 4096; }
static size_t k_of(const bench_values *v, operation op) { return v->cols ? (size_t)v->cols : op == GATHER ? 2048 : 4096; }
static bool wanted(const bench_values *v, operation op) {
    return op == MATMUL ? v->matmul : op == GATHER ? v->gather : op == EMBED ? v->embed : v->dequantize;
}

/* Why an operation cannot have its shape with a codec; empty: it can. */
typedef struct reason {
    char text[200];
} reason;

static reason misfit(const bench_values *v, operation op, const kq_codec_info *info) {
    reason r = {""};
    size_t n = n_of(v, op) * (op == GATHER ? (size_t)v->experts : 1), k = k_of(v, op), room = (size_t)v->megabytes << 20;
    size_t bytes = n * (k / info->block_weights) * info->block_bytes;
    if (k % info->block_weights) {
        snprintf(r.text, sizeof r.text, "--%s: rows of %zu weights are no whole blocks of %s, which have %u", op_names[op], k, info->name, info->block_weights);
    } else if (bytes > room) {
        snprintf(r.text, sizeof r.text, "--%s: %zu rows of %zu weights in %s take %zu MiB; --megabytes has %d", op_names[op], n, k, info->name,
                 (bytes + (1 << 20) - 1) >> 20, (int)v->megabytes);
    }
    for (size_t i = 0; i < v->m.n && op >= EMBED; i++) {
        size_t m = CLI_MIN((size_t)v->m.items[i], n);
        if (m * k > room / sizeof(float)) snprintf(r.text, sizeof r.text, "--%s: %zu rows of %zu floats are more than --megabytes", op_names[op], m, k);
    }
    return r;
}

static work begin(ops *o, operation op, const kq_codec_info *info, size_t matrices) {
    work w = {.test = op_names[op], .info = info, .n = n_of(o->v, op) * matrices, .k = k_of(o->v, op)};
    w.row_bytes = w.k / info->block_weights * info->block_bytes;
    w.matrix_bytes = (w.n * w.row_bytes + 63) / 64 * 64;
    w.n_matrices = CLI_MAX(o->bytes / w.matrix_bytes, (size_t)1);
    return w;
}

/* Fills the memory with copies of one matrix of `rows` rows. */
static int fill(ops *o, const work *w) {
    int code = bench_weights(w->info, w->n, w->k, o->memory, o->pool);
    for (size_t i = 1; i < w->n_matrices; i++) memcpy(o->memory + i * w->matrix_bytes, o->memory, w->n * w->row_bytes);
    return code;
}

static int bench_matmul(ops *o, const kq_codec_info *info) {
    static const bench_list own = {{1, 4, 8, 128, 512}, 5};
    bench_list list = rows_list(o->v, &own);
    work w = begin(o, MATMUL, info, 1);
    size_t most = 0;
    for (size_t i = 0; i < list.n; i++) most = CLI_MAX(most, (size_t)list.items[i]);
    float *x = bench_memory(most * w.k * sizeof(float)), *y = bench_memory(most * w.n * sizeof(float));
    bench_floats(x, most * w.k, 1, 3);
    int code = fill(o, &w);
    for (size_t i = 0; i < list.n * 2 && code == CLI_FINE; i++) {
        work line = w;
        line.m = (size_t)list.items[i / 2];
        line.cached = i % 2;
        if (line.cached ? line.m > FEW_ROWS || o->v->place == 1 : o->v->place == 2) continue;
        if (line.cached) {
            size_t fits = (size_t)o->threads * CACHED_BYTES / w.row_bytes / 16 * 16;
            line.n = CLI_MIN(w.n, CLI_MAX(fits, (size_t)16));
            line.n_matrices = 1;
        }
        line.x = x;
        line.y = y;
        code = add_line(o, &line, KQ_ROOF_READ, (double)(line.n * w.row_bytes), 2.0 * (double)line.m * (double)line.n * (double)w.k, (double)line.m);
    }
    free(x);
    free(y);
    return code;
}

/* Routings of m tokens to `used` different experts each; the experts that one touches, on average. */
static double route(int32_t *ids, size_t pitch, size_t m, size_t used, size_t experts) {
    bool *touched = cli_alloc(experts, sizeof *touched);
    size_t sum = 0;
    uint32_t s = 1;
    for (size_t r = 0; r < ROUTINGS; r++) {
        memset(touched, 0, experts * sizeof *touched);
        for (size_t i = 0; i < m * used; i++) {
            const int32_t *token = ids + r * pitch + i / used * used;
            int32_t *id = ids + r * pitch + i;
            bool again = true;
            while (again) {
                *id = (int32_t)(((s = s * 1664525 + 1013904223) >> 8) % experts);
                again = false;
                for (const int32_t *other = token; other < id; other++) again |= *other == *id;
            }
            sum += !touched[*id];
            touched[*id] = true;
        }
    }
    free(touched);
    return (double)sum / ROUTINGS;
}

static int bench_gather(ops *o, const kq_codec_info *info) {
    static const bench_list own = {{1, 8, 64}, 3};
    bench_list list = rows_list(o->v, &own);
    size_t experts = (size_t)o->v->experts, used = (size_t)o->v->used;
    work w = begin(o, GATHER, info, experts);
    size_t n = w.n / experts, k = w.k;
    if (o->v->place == 2) return CLI_FINE; /* experts do not fit there */
    int code = fill(o, &w);
    for (size_t i = 0; i < list.n && code == CLI_FINE; i++) {
        work line = w;
        line.m = (size_t)list.items[i];
        line.n = n;
        line.experts = experts;
        line.used = used;
        size_t pairs = line.m * used;
        float *x = bench_memory(line.m * k * sizeof(float));
        line.x = x;
        line.y = bench_memory(pairs * n * sizeof(float));
        line.ids_pitch = (pairs + 7) / 8 * 8;
        line.ids = bench_memory(ROUTINGS * line.ids_pitch * sizeof *line.ids);
        bench_floats(x, line.m * k, 1, 3);
        double touched = route(line.ids, line.ids_pitch, line.m, used, experts);
        code = add_line(o, &line, KQ_ROOF_READ, touched * (double)(n * w.row_bytes), 2.0 * (double)pairs * (double)n * (double)k,
                        (double)pairs / touched);
        free(x);
        free(line.y);
        free(line.ids);
    }
    return code;
}

/* Rows that are decoded: by index on all threads (embed), or one after another on one (dequantize). */
static int bench_decode(ops *o, const kq_codec_info *info, bool by_index) {
    static const bench_list own = {{512}, 1};
    bench_list list = rows_list(o->v, &own);
    work w = begin(o, by_index ? EMBED : DEQUANTIZE, info, 1);
    if (!by_index && o->threads > 1) return CLI_FINE; /* it has no pool */
    w.n_matrices = 1;
    int code = fill(o, &w);
    for (size_t i = 0; i < list.n * 2 && code == CLI_FINE; i++) {
        work line = w;
        line.cached = i % 2;
        line.m = CLI_MIN((size_t)list.items[i / 2], w.n);
        size_t row = w.k * sizeof(float), fits = CLI_MAX((size_t)o->threads * CACHED_BYTES / row, (size_t)1);
        if (line.cached ? o->v->place == 1 : o->v->place == 2) continue;
        if (line.cached) line.m = CLI_MIN(line.m, fits);
        else line.n_matrices = o->bytes / (line.m * row); /* places of results */
        int32_t *ids = bench_memory(line.m * sizeof *ids);
        uint32_t s = 1;
        size_t range = line.cached ? line.m : w.n;
        for (size_t r = 0; r < line.m; r++) ids[r] = by_index ? (int32_t)(((s = s * 1664525 + 1013904223) >> 8) % range) : (int32_t)r;
        line.ids = ids;
        line.by_index = by_index;
        code = add_line(o, &line, KQ_ROOF_STORE, (double)(line.m * row), 0, 1);
        free(ids);
    }
    return code;
}

/* ---- the part ---------------------------------------------------------------------------------------------------------------- */

static int with_threads(ops *o) {
    int code = CLI_FINE;
    for (operation op = 0; op < N_OPS; op++) {
        for (uint32_t c = 0; c < KQ_CODEC_LIMIT && wanted(o->v, op) && code == CLI_FINE; c++) {
            const kq_codec_info *info = kq_codec_describe(c);
            if (!o->v->chosen[c] || misfit(o->v, op, info).text[0]) continue;
            cli_bar(info->name, (double)c / KQ_CODEC_LIMIT);
            code = op == MATMUL ? bench_matmul(o, info) : op == GATHER ? bench_gather(o, info) : bench_decode(o, info, op == EMBED);
        }
    }
    return code;
}

bool bench_ops_check(const bench_values *v, char *text, size_t size) {
    for (operation op = 0; op < N_OPS; op++) {
        char names[512] = "";
        for (uint32_t c = 0; c < KQ_CODEC_LIMIT && wanted(v, op); c++) {
            reason r = v->chosen[c] ? misfit(v, op, kq_codec_describe(c)) : (reason){""};
            if (r.text[0] && v->codec) {
                snprintf(text, size, "%s", r.text);
                return false;
            }
            size_t n = strlen(names);
            if (r.text[0]) snprintf(names + n, sizeof names - n, " %s", kq_codec_describe(c)->name);
        }
        if (names[0]) cli_note("--%s leaves out those whose blocks do not fit the rows, or that take more than --megabytes:%s", op_names[op], names);
    }
    return true;
}

int bench_ops(const bench_values *v, const bench_peer *p, bench_report *r) {
    ops o = {.v = v, .peer = p, .report = r, .bytes = (size_t)v->megabytes << 20};
    int code = CLI_FINE;
    o.memory = bench_memory(o.bytes);
    memset(o.memory, 0, o.bytes);
    if (v->embed || v->dequantize) o.results = bench_memory(o.bytes);
    if (o.results) memset(o.results, 0, o.bytes);
    for (size_t i = 0; i < v->threads.n && code == CLI_FINE; i++) {
        kq_device_options options = KQ_OPTIONS_INIT(kq_device_options);
        options.mode = v->exact ? KQ_EXACT : KQ_FAST;
        if (kq_pool_open(&o.pool, (int)v->threads.items[i], NULL, &o.error)) {
            code = cli_fail_kq(NULL, &o.error);
            break;
        }
        options.pool = o.pool;
        o.threads = kq_pool_threads(o.pool);
        if (kq_device_open(&o.device, &options, &o.error)) code = cli_fail_kq(NULL, &o.error);
        else code = with_threads(&o);
        kq_device_close(o.device);
        kq_pool_close(o.pool);
        o.device = NULL;
        o.pool = NULL;
    }
    free(o.memory);
    free(o.results);
    return code;
}
