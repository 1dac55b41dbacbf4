/* SPDX-License-Identifier: MIT */
/* cpu owns: the table of kernels (kernels.def), their choice by CPU features, the drivers that cut an operation into tiles for
 * the pool, one file an operation of ops.def, and the interpreter that runs a verified program.
 * It may include: base codec program/ops.h. */
#ifndef KQ_CPU_H
#define KQ_CPU_H

#include "base/base.h"
#include "codec/codec.h"
#include "cpu/kernels.h"
#include "program/ops.h"

#include <kquant/ops.h>

/* ---- products ------------------------------------------------------------------------------------------------------ */

/* y[j][n] = sum_k w[n][k] * x[j][k] (+ bias[n]) for w [n_rows, n_cols] in a codec, x [m, n_cols] and y [m, n_rows] in f32, with
 * row pitches ldx and ldy in floats. Any size may be 0. x and y must not overlap.
 * Exact: float activations, the one order of kernels.h. Fast, up to 16 activation rows (24 where the codec has batch): int8 activations
 * where the codec has kernels for them, floats where weights are floats, and the exact product where there are no such kernels; above,
 * tiles (kernels.h). In each of them a result depends on its weight row and its activation row alone: not on m, the pool or the cut. */
typedef struct kq_matmul_args {
    uint32_t codec;
    const void *w;
    uint64_t n_rows, n_cols, row_bytes;
    const float *x;
    uint64_t m, ldx;
    const float *bias; /* may be NULL */
    float *y;
    uint64_t ldy;
    bool exact;
} kq_matmul_args;
/* Bytes of scratch (64-aligned) for products of up to m rows of up to n_cols columns on n_threads threads; false on overflow. */
bool kq_matmul_scratch(uint64_t m, uint64_t n_cols, int n_threads, uint64_t *bytes);
/* Arguments were checked when the program was verified: no failure is possible here. Takes n_cols whole blocks. */
void kq_matmul_run(const kq_cpu_table *table, kq_pool *pool, const kq_matmul_args *args, void *scratch);
/* How it multiplies m activation rows with weights of a codec that decodes. */
kq_product kq_matmul_product(const kq_cpu_table *table, uint32_t codec, uint64_t m, bool exact);

/* y[t][u] = w[idx[t][u]] x[t][v], v = u, or 0 where x has one row a token: experts' matrices w [n_experts, n_rows, n_cols], one
 * after another, x [n_tokens, n_x, n_cols] with n_x = 1 or n_used, idx [n_tokens, n_used], y [n_tokens, n_used, n_rows], all dense.
 * Pairs are grouped by expert, so that the bytes of each touched expert are read from memory once, and those of the others never.
 * A pair whose index is no expert gives NaN. The same bits as kq_matmul_run gives for m = the pairs of its expert. */
typedef struct kq_gather_args {
    uint32_t codec;
    const void *w;
    uint64_t n_experts, n_rows, n_cols, row_bytes;
    uint64_t expert_bytes; /* from one expert's matrix to the next */
    const float *x;
    uint64_t n_tokens, n_x, n_used;
    const int32_t *idx;
    float *y;
    bool exact;
} kq_gather_args;
bool kq_gather_scratch(uint64_t n_experts, uint64_t n_tokens, uint64_t n_x, uint64_t n_used, uint64_t n_cols, int n_threads,
                       uint64_t *bytes);
void kq_gather_run(const kq_cpu_table *table, kq_pool *pool, const kq_gather_args *args, void *scratch);

/* ---- running a program -------------------------------------------------------------------------------------------- */

/* A slot with its symbols replaced by numbers and its memory found. */
typedef struct kq_tensor {
    void *data;                 /* weights are never written through it */
    int64_t dims[KQ_MAX_DIMS];  /* outermost first; numbers only */
    uint8_t n_dims, type;       /* kq_type */
    uint32_t codec;             /* of a weight; KQ_F32 or KQ_F16 of state */
    uint64_t row_bytes;         /* of a weight: bytes of its innermost dimension */
} kq_tensor;

/* What a step sees when it runs. Everything was verified before: nothing here can fail. */
typedef struct kq_exec {
    const kq_cpu_table *table;
    kq_pool *pool;
    const kq_tensor *slots;
    bool exact;
    void *scratch;              /* kq_exec_scratch bytes, shared by all steps, overwritten by each */
} kq_exec;

/* One of these an operation of ops.def, in op_NAME.c (or a file that holds a few close relatives). */
typedef struct kq_cpu_op {
    void (*run)(const kq_exec *x, const kq_step *step);
    /* The scratch that run needs; false on overflow. NULL: none. Dimensions may be smaller when it runs, never larger. */
    bool (*scratch)(const kq_tensor *slots, const kq_step *step, int n_threads, uint64_t *bytes);
} kq_cpu_op;
#define KQ_OP(name, signature, attributes) extern const kq_cpu_op kq_cpu_##name;
#include "program/ops.def"

/* The most scratch that any step of these needs; `slots` bound at their largest sizes. False on overflow. */
bool kq_exec_scratch(const kq_step *steps, size_t n_steps, const kq_tensor *slots, int n_threads, uint64_t *bytes);
/* Runs the steps in order. Results do not depend on the pool. */
void kq_exec_run(const kq_exec *x, const kq_step *steps, size_t n_steps);

#endif
