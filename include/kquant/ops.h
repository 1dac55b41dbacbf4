/* SPDX-License-Identifier: MIT */
/* Operations on packed weights, for engines that have their own graph: y = x w^T and its relatives, straight from the blocks of a file.
 * (kq_dequantize and kq_quantize, which need no more than memory, are in codec.h.)
 *
 * Shapes are written [rows, cols], the last dimension innermost. Weights are [N, K] in a codec: N rows of K / block blocks.
 * Activations and results are f32, f16 or bf16; sums are f32, and an f16 or bf16 result is rounded once, to the nearest even.
 * A NaN or an infinity among the activations reaches the results of its own row alone, one among the weights those of its own weight row (in
 * kq_matmul_t, of its own column). Where KQ_FAST rounds activations to 8 bits an infinity gives NaN, and a number that rounds beyond bf16 or f16
 * becomes an infinity.
 *
 * Any dimension may be 0: products over nothing are 0 (plus the bias), results without elements are not touched, and then a data
 * pointer may be NULL. Every size is checked against the buffer that it describes before anything is read; on failure no result has
 * been written. Results must not overlap what is read: that is not checked, for slices of one matrix may interleave, and gives arbitrary
 * results, but nothing is ever written beside them. Pointers to floats and indices are aligned as C wants it.
 * No result depends on the number of threads. In the mode KQ_EXACT none depends on M, on the batch or on the machine either. */
#ifndef KQUANT_OPS_H
#define KQUANT_OPS_H

#include <kquant/codec.h>
#include <kquant/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- where operations run ----------------------------------------------------------------------------------------- */

/* The kernels of this machine, a pool that was lent, and scratch memory. It belongs to one thread at a time; make one a thread, each
 * with its own pool. Scratch grows to the largest call and stays: an operation allocates when it needs more than any before it, so
 * that a loop over the same shapes allocates in its first round only. */
typedef struct kq_device kq_device;

typedef struct kq_device_options {
    size_t struct_size;
    const kq_allocator *allocator;
    kq_pool *pool;     /* lent until kq_device_close; NULL = the calling thread */
    kq_mode mode;
    uint32_t cpu_mask; /* features that kernels may use; 0 = all of this machine's, KQ_CPU_NONE = none */
} kq_device_options;

/* options may be NULL. KQ_E_ARGUMENT: unknown mode. KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_device_open(kq_device **out, const kq_device_options *options, kq_error *err);
KQ_API void kq_device_close(kq_device *device);
/* Bytes of scratch that it holds now. */
KQ_API uint64_t kq_device_scratch(const kq_device *device);

/* ---- operands ----------------------------------------------------------------------------------------------------- */

/* Packed matrices. The caller owns the bytes, which may lie at any address and are only read: a mapped file will do. */
typedef struct kq_weights {
    uint32_t codec;        /* kq_codec, one that decodes */
    const void *data;
    size_t bytes;          /* of the buffer at data: nothing beyond is read */
    uint64_t rows, cols;   /* N, K of each matrix; K is a whole number of blocks */
    uint64_t row_bytes;    /* from one row to the next; 0: rows without gaps. Less than a row has: rows overlap, which is fine */
    uint64_t matrices;     /* how many, one after another (experts, heads); 0: 1 */
    uint64_t matrix_bytes; /* from one matrix to the next; 0: rows * row_bytes */
} kq_weights;

/* Activations, read only: `batch` matrices [rows, cols]. Data is aligned to its type. Strides may be less than what they step over: rows and
 * matrices that are only read may overlap. */
typedef struct kq_activations {
    uint32_t type;         /* KQ_F32, KQ_F16 or KQ_BF16 */
    const void *data;
    size_t bytes;          /* of the buffer at data */
    uint64_t rows, cols;
    uint64_t row_stride;   /* elements from one row to the next; 0: cols */
    uint64_t batch;        /* 0: 1 */
    uint64_t batch_stride; /* elements from one matrix to the next; 0: rows * row_stride */
} kq_activations;

/* Results, written only. As above, and rows must not overlap each other: row_stride >= cols, batch_stride >= rows * row_stride.
 * What lies between rows stays as it is. */
typedef struct kq_results {
    uint32_t type;
    void *data;
    size_t bytes;
    uint64_t rows, cols;
    uint64_t row_stride;
    uint64_t batch;
    uint64_t batch_stride;
} kq_results;

/* ---- operations --------------------------------------------------------------------------------------------------- */

/* All of them: KQ_E_ARGUMENT when a pointer is NULL, a codec or type is unknown, shapes disagree, K is a part of a block, strides are
 * impossible, a buffer is too short or not aligned; the text names the operand, its value and the limit. KQ_E_MEMORY when the scratch
 * cannot grow. */

/* y[b][m][n] = sum over k of x[b][m][k] * w[b][n][k], plus bias[n]. x [B, M, K], w [N, K] shared by the batch (its bytes are read once,
 * not B times) or one matrix for each of the B, y [B, M, N]. bias: N floats, or NULL.
 * KQ_FAST rounds activations: to 8 bits with a scale for each 32 of them where few rows meet the weights, to bf16 in large tiles;
 * docs/kernels.md has the errors. */
KQ_API KQ_MUST_CHECK kq_status kq_matmul(kq_device *device, const kq_activations *x, const kq_weights *w, const float *bias, const kq_results *y,
                                         kq_error *err);

/* How kq_matmul multiplies m activation rows that meet the same matrix: a batch that shares its weights counts as B * M rows, and in
 * kq_matmul_gather the pairs that name a matrix count. On one machine, products of the same regime and type give the same result for the
 * same two rows. */
typedef enum kq_regime {
    KQ_REGIME_ROWS,  /* activation rows, a few at a time, beside a row of weights */
    KQ_REGIME_BATCH, /* all of them beside a row of weights; the same results as KQ_REGIME_ROWS */
    KQ_REGIME_TILES  /* weights are decoded into panels, which many activation rows meet */
} kq_regime;
typedef struct kq_product {
    kq_regime regime;
    uint32_t type; /* what is multiplied: KQ_F32; KQ_I8: activations rounded to 8 bits; KQ_BF16: activations and weights rounded to bf16 */
} kq_product;
/* The cut-over points depend on the codec, the mode, and the machine, and may change with a release. KQ_E_ARGUMENT: no codec that
 * decodes, or NULL. */
KQ_API KQ_MUST_CHECK kq_status kq_matmul_describe(const kq_device *device, uint32_t codec, uint64_t m, kq_product *out, kq_error *err);

/* y[b][m][k] = sum over n of x[b][m][n] * w[b][n][k]: gradients, absorbed attention. x [B, M, N], w as above, y [B, M, K]. One order of
 * sums in both modes: n upwards, product and sum each rounded to f32. */
KQ_API KQ_MUST_CHECK kq_status kq_matmul_t(kq_device *device, const kq_activations *x, const kq_weights *w, const kq_results *y, kq_error *err);

/* Experts: y[p] = w[right[p]] x[left[p]], p = 0 .. n_pairs - 1. x [L, K], w `matrices` of [N, K], y [n_pairs, N]; no batch.
 * left: rows of x, or NULL: row p * L / n_pairs, each row of x serving the same number of pairs one after another (n_pairs must be a
 * multiple of L). right: matrices of w, or NULL: matrix p (n_pairs must be their number). Indices come in any order; pairs that are
 * equal are computed once; the bytes of a matrix that no pair names are not read, those of the others once for all their pairs.
 * KQ_E_ARGUMENT also when an index is out of range (the text has its place), before anything is computed. */
KQ_API KQ_MUST_CHECK kq_status kq_matmul_gather(kq_device *device, const kq_activations *x, const kq_weights *w, const int32_t *left,
                                                const int32_t *right, size_t n_pairs, const kq_results *y, kq_error *err);

/* y[i] = row ids[i] of w, decoded: w [N, K], y [n_ids, K]; no batch. KQ_E_ARGUMENT also when an id is out of range, before anything
 * is decoded. */
KQ_API KQ_MUST_CHECK kq_status kq_embed(kq_device *device, const kq_weights *w, const int32_t *ids, size_t n_ids, const kq_results *y,
                                        kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
