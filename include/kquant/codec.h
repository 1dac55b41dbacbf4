/* SPDX-License-Identifier: MIT */
/* Codecs: the block formats that weights are stored in.
 *
 * A row of K weights is K / block_weights blocks, one after another, without padding; a matrix [N,K] is N rows one after
 * another. K must be a whole number of blocks. Layouts are drawn in src/codec/blocks.h. */
#ifndef KQUANT_CODEC_H
#define KQUANT_CODEC_H

#include <kquant/core.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The values are GGUF's tensor type numbers (gguf.md in the ggml repository), so they are stable. */
typedef enum kq_codec {
    KQ_F32 = 0, KQ_F16 = 1,
    KQ_Q4_0 = 2, KQ_Q4_1 = 3, KQ_Q5_0 = 6, KQ_Q5_1 = 7, KQ_Q8_0 = 8,
    KQ_Q2_K = 10, KQ_Q3_K = 11, KQ_Q4_K = 12, KQ_Q5_K = 13, KQ_Q6_K = 14,
    KQ_IQ2_XXS = 16, KQ_IQ2_XS = 17, KQ_IQ3_XXS = 18, KQ_IQ1_S = 19, KQ_IQ4_NL = 20, KQ_IQ3_S = 21, KQ_IQ2_S = 22, KQ_IQ4_XS = 23,
    KQ_I8 = 24, KQ_I16 = 25, KQ_I32 = 26, KQ_I64 = 27, KQ_F64 = 28, /* plain data: sized, never decoded */
    KQ_IQ1_M = 29, KQ_BF16 = 30, KQ_TQ1_0 = 34, KQ_TQ2_0 = 35, KQ_MXFP4 = 39, KQ_NVFP4 = 40, KQ_Q1_0 = 41, KQ_Q2_0 = 42,
    KQ_CODEC_LIMIT = 43 /* one more than the largest value; there are gaps below it */
} kq_codec;

typedef struct kq_codec_info {
    kq_codec codec;
    const char *name;       /* "q4_k": how programs spell it */
    const char *label;      /* "Q4_K": how people see it */
    uint32_t block_weights; /* weights in a block */
    uint32_t block_bytes;   /* bytes of a block */
    bool decodes;           /* false for plain data (i8 ... f64); what decodes also encodes */
    bool needs_importances; /* its encoder refuses to go without */
} kq_codec_info;

/* The description of a codec, or NULL for a number that is none. The result lives as long as the program. */
KQ_API const kq_codec_info *kq_codec_describe(uint32_t codec);
/* Finds a codec by name, in any case; NULL when there is none. */
KQ_API const kq_codec_info *kq_codec_find(const char *name);

/* Bytes of a row of `weights` weights. KQ_E_ARGUMENT: unknown codec, a part of a block, or more bytes than 2^63. */
KQ_API KQ_MUST_CHECK kq_status kq_row_bytes(uint32_t codec, uint64_t weights, uint64_t *bytes, kq_error *err);

/* Decodes `weights` weights (whole blocks) at src into dst, bit-exactly as the format defines them. src need not be aligned;
 * src_bytes and dst_floats are the sizes of the buffers, which must not overlap. Any number of threads may call it.
 * KQ_E_ARGUMENT: NULL, unknown or plain codec, a part of a block, a buffer too short, a dst that is not aligned as floats are. */
KQ_API KQ_MUST_CHECK kq_status kq_dequantize(uint32_t codec, const void *src, size_t src_bytes, uint64_t weights, float *dst,
                                             size_t dst_floats, kq_error *err);

typedef struct kq_quantize_options {
    size_t struct_size;
    const float *importances; /* how much an error in each column matters, finite and not negative; NULL: none are known */
    size_t importance_floats; /* how many there are: cols for each group of rows */
    uint64_t group_rows;      /* rows that share a vector of importances, such as those of one expert; 0: all rows */
    kq_pool *pool;            /* NULL: the calling thread. The bytes do not depend on it */
    uint32_t cpu_mask;        /* features that may be used; 0 = all of this machine's, KQ_CPU_NONE = none. The bytes do not depend on it */
} kq_quantize_options;

/* Encodes a matrix of floats [rows, cols], one row after another, into blocks at dst. The bytes are those of ggml's reference
 * encoders, with importances and without (which is another search, not importances of 1). q8_0, tq1_0, tq2_0, mxfp4, nvfp4,
 * q1_0, q2_0, f32, f16 and bf16 do not look at importances. options may be NULL. dst need not be aligned; the buffers must not
 * overlap. Any number of threads may call it, each with its own pool. On failure the bytes of dst are undefined.
 * NaN and infinity are refused, except in f32, f16 and bf16. Weights beyond the reach of a block's binary16 scale are not:
 * they give an infinite scale, as in the reference.
 * KQ_E_ARGUMENT: NULL, unknown or plain codec, a part of a block, a buffer too short, rows that are not whole groups, importances
 * missing where the codec needs them or of the wrong number, data that is not finite or on which the search breaks down (weights
 * of about 1e13 and more in iq1, iq2 and iq3); the text names the row. */
KQ_API KQ_MUST_CHECK kq_status kq_quantize(uint32_t codec, const float *src, size_t src_floats, uint64_t rows, uint64_t cols, void *dst,
                                           size_t dst_bytes, const kq_quantize_options *options, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
