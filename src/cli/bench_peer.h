/* SPDX-License-Identifier: MIT */
/* Other engines behind dlopen: the few functions of ggml.h, ggml-backend.h, ggml-cpu.h and llama.h that the bench calls, declared by us. All
 * take and give pointers and numbers, but for the parameters that llama.cpp passes by value and that grow from version to version: they
 * travel in a block that is larger than any of them. Where structures of this size are passed by value, the callee finds them at the
 * block's beginning (x86-64: on the stack, where nothing else is passed; AArch64: through a pointer), and the default-params functions fill them
 * through a pointer to the result, so that no layout needs to be known but the first three fields of llama_context_params, which are checked. */
#ifndef KQ_CLI_BENCH_PEER_H
#define KQ_CLI_BENCH_PEER_H

#include "cli/bench.h"

typedef struct bench_block {
    uint64_t words[128];
} bench_block;

/* ggml_init_params: three fields since the beginning. */
typedef struct bench_ggml_params {
    size_t size;
    void *memory;
    bool no_alloc;
} bench_ggml_params;

#define BENCH_GGML_FUNCTIONS(F) \
    F(void *, ggml_init, (bench_ggml_params)) \
    F(void, ggml_free, (void *)) \
    F(size_t, ggml_tensor_overhead, (void)) \
    F(size_t, ggml_graph_overhead_custom, (size_t, bool)) \
    F(void *, ggml_new_tensor_2d, (void *, int, int64_t, int64_t)) \
    F(void *, ggml_new_tensor_3d, (void *, int, int64_t, int64_t, int64_t)) \
    F(void *, ggml_mul_mat, (void *, void *, void *)) \
    F(void *, ggml_mul_mat_id, (void *, void *, void *, void *)) \
    F(void *, ggml_get_rows, (void *, void *, void *)) \
    F(void *, ggml_new_graph_custom, (void *, size_t, bool)) \
    F(void, ggml_build_forward_expand, (void *, void *)) \
    F(void *, ggml_backend_cpu_buffer_from_ptr, (void *, size_t)) \
    F(int, ggml_backend_tensor_alloc, (void *, void *, void *)) \
    F(void, ggml_backend_buffer_free, (void *)) \
    F(int, ggml_backend_graph_compute, (void *, void *)) \
    F(void, ggml_backend_free, (void *)) \
    F(void *, ggml_backend_cpu_init, (void)) \
    F(void, ggml_backend_cpu_set_n_threads, (void *, int))

#define BENCH_LLAMA_FUNCTIONS(F) \
    F(bench_block, llama_model_default_params, (void)) \
    F(bench_block, llama_context_default_params, (void)) \
    F(void *, llama_model_load_from_file, (const char *, bench_block)) \
    F(void, llama_model_free, (void *)) \
    F(void *, llama_init_from_model, (void *, bench_block)) \
    F(void, llama_free, (void *)) \
    F(void, llama_set_n_threads, (void *, int32_t, int32_t)) \
    F(void *, llama_get_memory, (void *)) \
    F(void, llama_memory_clear, (void *, bool)) \
    F(bench_block, llama_batch_get_one, (int32_t *, int32_t)) \
    F(int32_t, llama_decode, (void *, bench_block)) \
    F(void, llama_synchronize, (void *)) \
    F(void, llama_log_set, (void (*)(int, const char *, void *), void *))

#define BENCH_ENCODE_FUNCTIONS(F) \
    F(size_t, ggml_quantize_chunk, (int, const float *, void *, int64_t, int64_t, int64_t, const float *)) \
    F(const char *, ggml_type_name, (int)) \
    F(int64_t, ggml_blck_size, (int)) \
    F(size_t, ggml_type_size, (int))

struct bench_peer {
    const char *path;
    void *library;  /* NULL: a program */
    bool encodes, computes, has_llama;
    void *backend;  /* of ggml's CPU, when it computes */
#define F(result, name, arguments) result (*name) arguments;
    BENCH_ENCODE_FUNCTIONS(F)
    BENCH_GGML_FUNCTIONS(F)
    BENCH_LLAMA_FUNCTIONS(F)
#undef F
};

#endif
