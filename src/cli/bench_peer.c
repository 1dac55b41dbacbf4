/* SPDX-License-Identifier: MIT */
/* Peers for kquant bench: opening them, encoders, and operations as graphs of ggml. */
#include "cli/bench_peer.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ISO C has no cast from an object's address to a function's. */
static bool find(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

/* Does the file begin as shared objects do? Programs do too: they are told by whether they can be loaded. */
static bool is_library(const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strstr(name, ".so") != NULL;
}

bench_peer *bench_peer_open(const char *path) {
    bench_peer *p = cli_alloc(1, sizeof *p);
    p->path = path;
    if (!is_library(path)) {
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0) return p;
        free(p);
        cli_fail(CLI_FAILED, "%s: neither a shared library (*.so) nor a program", path);
        return NULL;
    }
    p->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!p->library) {
        free(p);
        cli_fail(CLI_FAILED, "%s", dlerror());
        return NULL;
    }
    p->encodes = p->computes = p->has_llama = true;
#define F(result, name, arguments) p->encodes &= find(p->library, #name, &p->name);
    BENCH_ENCODE_FUNCTIONS(F)
#undef F
    p->computes = p->encodes;
#define F(result, name, arguments) p->computes &= find(p->library, #name, &p->name);
    BENCH_GGML_FUNCTIONS(F)
#undef F
#define F(result, name, arguments) p->has_llama &= find(p->library, #name, &p->name);
    BENCH_LLAMA_FUNCTIONS(F)
#undef F
    if (p->computes) p->backend = p->ggml_backend_cpu_init();
    p->computes = p->backend != NULL;
    if (p->encodes || p->has_llama) return p;
    bench_peer_close(p);
    cli_fail(CLI_FAILED, "%s has neither ggml's functions nor llama.cpp's", path);
    return NULL;
}

void bench_peer_close(bench_peer *p) {
    if (!p) return;
    if (p->backend) p->ggml_backend_free(p->backend);
    free(p); /* the library stays: its threads may be asleep in it */
}

/* ---- encoders ------------------------------------------------------------------------------------------------------------------ */

bool bench_peer_encodes(const bench_peer *p, const kq_codec_info *info) {
    const char *name = p->encodes ? p->ggml_type_name((int)info->codec) : NULL;
    return name && !strcasecmp(name, info->name) && p->ggml_blck_size((int)info->codec) == info->block_weights &&
           p->ggml_type_size((int)info->codec) == info->block_bytes;
}

bool bench_peer_encode(const bench_peer *p, uint32_t codec, const float *x, void *out, int64_t rows, int64_t cols, const float *importances, size_t bytes) {
    return p->ggml_quantize_chunk((int)codec, x, out, 0, rows, cols, importances) == bytes;
}

/* ---- graphs -------------------------------------------------------------------------------------------------------------------- */

enum { TENSORS_OF_NODE = 4 };
struct bench_graph {
    const bench_peer *peer;
    void *context, *graph;
    void **buffers;
    size_t n_buffers, capacity;
};

bool bench_peer_computes(const bench_peer *p, const kq_codec_info *info) { return p->computes && bench_peer_encodes(p, info); }

bench_graph *bench_graph_open(const bench_peer *p, size_t n_nodes) {
    bench_graph *g = cli_alloc(1, sizeof *g);
    g->peer = p;
    g->capacity = n_nodes * TENSORS_OF_NODE;
    g->buffers = cli_alloc(g->capacity, sizeof *g->buffers);
    size_t graph_size = g->capacity * 2;
    size_t size = p->ggml_tensor_overhead() * g->capacity + p->ggml_graph_overhead_custom(graph_size, false) + 4096;
    g->context = p->ggml_init((bench_ggml_params){.size = size, .no_alloc = true});
    if (g->context) g->graph = p->ggml_new_graph_custom(g->context, graph_size, false);
    if (g->graph) return g;
    bench_graph_close(g);
    return NULL;
}

void bench_graph_close(bench_graph *g) {
    if (!g) return;
    for (size_t i = 0; i < g->n_buffers; i++) g->peer->ggml_backend_buffer_free(g->buffers[i]);
    if (g->context) g->peer->ggml_free(g->context);
    free(g->buffers);
    free(g);
}

/* Gives a tensor our memory, which ggml wants at a multiple of 32. */
static bool lend(bench_graph *g, void *tensor, const void *data, size_t bytes) {
    void *memory = (void *)(uintptr_t)data; /* only results are written */
    if (!tensor || g->n_buffers == g->capacity || (uintptr_t)data % 32) return false;
    void *buffer = g->peer->ggml_backend_cpu_buffer_from_ptr(memory, bytes);
    if (!buffer) return false;
    g->buffers[g->n_buffers++] = buffer;
    return g->peer->ggml_backend_tensor_alloc(buffer, tensor, memory) == 0;
}

static size_t codec_bytes(uint32_t codec, size_t weights) {
    const kq_codec_info *info = kq_codec_describe(codec);
    return weights / info->block_weights * info->block_bytes;
}

static bool finish(bench_graph *g, void *result, float *y, size_t floats) {
    if (!lend(g, result, y, floats * sizeof(float))) return false;
    g->peer->ggml_build_forward_expand(g->graph, result);
    return true;
}

bool bench_graph_matmul(bench_graph *g, uint32_t codec, const void *w, size_t n, size_t k, const float *x, size_t m, float *y) {
    void *a = g->peer->ggml_new_tensor_2d(g->context, (int)codec, (int64_t)k, (int64_t)n);
    void *b = g->peer->ggml_new_tensor_2d(g->context, KQ_F32, (int64_t)k, (int64_t)m);
    return lend(g, a, w, codec_bytes(codec, n * k)) && lend(g, b, x, m * k * sizeof(float)) &&
           finish(g, g->peer->ggml_mul_mat(g->context, a, b), y, m * n);
}

bool bench_graph_gather(bench_graph *g, uint32_t codec, const void *w, size_t experts, size_t n, size_t k, const float *x, size_t m,
                        const int32_t *ids, size_t used, float *y) {
    void *a = g->peer->ggml_new_tensor_3d(g->context, (int)codec, (int64_t)k, (int64_t)n, (int64_t)experts);
    void *b = g->peer->ggml_new_tensor_3d(g->context, KQ_F32, (int64_t)k, 1, (int64_t)m);
    void *c = g->peer->ggml_new_tensor_2d(g->context, KQ_I32, (int64_t)used, (int64_t)m);
    return lend(g, a, w, codec_bytes(codec, experts * n * k)) && lend(g, b, x, m * k * sizeof(float)) && lend(g, c, ids, m * used * sizeof *ids) &&
           finish(g, g->peer->ggml_mul_mat_id(g->context, a, b, c), y, m * used * n);
}

bool bench_graph_embed(bench_graph *g, uint32_t codec, const void *w, size_t n, size_t k, const int32_t *ids, size_t m, float *y) {
    void *a = g->peer->ggml_new_tensor_2d(g->context, (int)codec, (int64_t)k, (int64_t)n);
    void *b = g->peer->ggml_new_tensor_2d(g->context, KQ_I32, (int64_t)m, 1);
    return lend(g, a, w, codec_bytes(codec, n * k)) && lend(g, b, ids, m * sizeof *ids) &&
           finish(g, g->peer->ggml_get_rows(g->context, a, b), y, m * k);
}

bool bench_graph_run(bench_graph *g, int64_t threads) {
    g->peer->ggml_backend_cpu_set_n_threads(g->peer->backend, (int)threads);
    return g->peer->ggml_backend_graph_compute(g->peer->backend, g->graph) == 0;
}

/* ---- models (bench_llama.c) ---------------------------------------------------------------------------------------------------- */

bool bench_peer_runs_program(const bench_peer *p) { return !p->library; }
bool bench_peer_runs_models(const bench_peer *p) { return !p->library || p->has_llama; }
