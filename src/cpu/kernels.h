/* SPDX-License-Identifier: MIT */
/* The kernel contract: what a kernel of each operation is given, and the table that holds the chosen ones. docs/kernels.md explains.
 *
 * A kernel knows rows, not tensors: it never allocates, locks, logs, fails or sees a thread. Weights may lie at any address; nothing
 * is read before the first or behind the last byte that the arguments name, and nothing is written but the results. What a result is
 * depends only on its own weight row and its own activation row: not on the neighbours, on how many there are, or on addresses. */
#ifndef KQ_CPU_KERNELS_H
#define KQ_CPU_KERNELS_H

#include "base/base.h"
#include "codec/codec.h"

/* ---- operations ---------------------------------------------------------------------------------------------------- */

/* decode: whole blocks of a codec to floats, bit for bit as the codec's reference decoder: kq_decode_fn of codec/codec.h. */

/* exact: the product of the exact mode, codec f32 only (others are decoded first). For EXACT_ROWS weight rows and m activation rows
 * of n floats each, adds the products to 16 running sums a pair:
 *     for k in 0 .. n-1, in this order:   lanes[j][i][k % 16] += w[i][k] * x[j][k]       each operation rounded, never fused
 * Long rows come in pieces, all but the last a multiple of 16 long; kq_exact_sum turns the sixteen into the result. */
enum { KQ_EXACT_ROWS = 4, KQ_EXACT_LANES = 16 };
typedef void kq_exact_fn(const float *const w[KQ_EXACT_ROWS], const float *const *x, size_t m, size_t n,
                         float (*lanes)[KQ_EXACT_ROWS][KQ_EXACT_LANES]);
static inline float kq_exact_sum(const float lanes[KQ_EXACT_LANES]) {
    float s[8];
    for (int i = 0; i < 8; i++) s[i] = lanes[i] + lanes[i + 8];
    for (int i = 0; i < 4; i++) s[i] += s[i + 4];
    for (int i = 0; i < 2; i++) s[i] += s[i + 2];
    return s[0] + s[1];
}

/* Activations of the fast mode: 256 in a block, in their own order, as int8 with an f32 scale for each 32. The rest of a last block
 * is zeros. For a group of 32 whose largest magnitude is a:
 *     a is NaN or infinite   scale = NaN, q = 0: every product over it is NaN
 *     a < 2^-120             scale = 0, q = 0 (127 / a could overflow)
 *     else                   scale = a / 127, q = x * (127 / a) rounded to the nearest, ties to even; |q| <= 127
 * Sums are there for codecs with a minimum or an offset: sum[g] = scale[g] * (q's sum over the group), sum16[h] the same over the
 * half group h, each one rounding. One layout serves every codec: where a codec's bytes come in another order, the kernels
 * put the weights right (docs/kernels.md has the cost: none). */
enum { KQ_ACT_WEIGHTS = 256, KQ_ACT_GROUP = 32 };
typedef struct kq_act8 {
    int8_t q[KQ_ACT_WEIGHTS];
    float scale[8];
    float sum[8];
    float sum16[16];
} kq_act8;
_Static_assert(sizeof(kq_act8) == 384, "six cache lines");
static inline size_t kq_act8_blocks(size_t n_cols) { return n_cols / KQ_ACT_WEIGHTS + (n_cols % KQ_ACT_WEIGHTS != 0); }
/* act8: n floats at x to kq_act8_blocks(n) blocks, 64-aligned. Codec f32 in the table: the source. */
typedef void kq_act8_fn(const float *x, size_t n, kq_act8 *out);

/* rows1: y[r] = (weight row r) . x for n_rows rows of n_blocks blocks (of the codec), row_bytes apart.
 * rowsm: the same for m activation rows, 1 <= m <= KQ_ROWSM, with every weight block decoded once: y[j][r] = (weight row r) . x[j].
 * Both of one variant give the same bits for the same pair, so a batch gives what its tokens give alone. */
enum { KQ_ROWSM = 8 };
typedef void kq_rows1_fn(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *x, float *y);
typedef void kq_rowsm_fn(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, size_t m);

/* rowsf: the same for weights that are floats, of codecs f32, f16 and bf16, and activations that are: y[j][r] = (weight row r) . x[j] over n weights,
 * 1 <= m <= KQ_ROWSM. Sums may be fused and taken in any order that n alone determines. */
typedef void kq_rowsf_fn(const void *w, size_t row_bytes, size_t n_rows, size_t n, const float *const *x, float *const *y, size_t m);

/* weave: a row of n blocks of int8 activations to its place among m rows, for batch: KQ_WOVEN bytes for each two blocks, m * KQ_WOVEN from one such
 * piece to the next. EXACTLY. A lane is a group of 32, of the groups 0 2 4 6 1 3 5 7 of the first block, then of the second; a missing block is zeros:
 *     q[s][lane]         the dword s of 8 of the lane's group
 *     scale[lane], sum[lane], sum16[half][lane]
 * batch: rowsm for m <= KQ_BATCH rows woven beside each other; the same bits. n blocks of activations are as many as kq_act8_blocks of the row has. */
enum { KQ_BATCH = 32, KQ_WOVEN = 2 * sizeof(kq_act8) };
static inline size_t kq_woven_bytes(size_t n) { return (n + 1) / 2 * KQ_WOVEN; } /* of one row of n blocks */
typedef void kq_weave_fn(const kq_act8 *x, size_t n, size_t m, uint8_t *out);
typedef void kq_batch_fn(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const uint8_t *x, float *const *y, size_t m);

/* Tiles, for many activation rows: weights are decoded once into a panel, rows of floats or of bf16 in their own order, and activations
 * are laid in strips of KQ_LANES rows, so that a register holds one weight of each. pack, narrow and tile have the codec of panel and strips: KQ_F32, or
 * KQ_BF16 on machines that multiply it. Lengths are multiples of KQ_TILE_STEP, padded with zeros.
 * pack: a strip of m <= KQ_LANES activation rows: n floats each, then zeros; rows m .. are zeros. EXACTLY.
 *     KQ_F32    out[k][lane] = x[lane][k]
 *     KQ_BF16   out[k / 2][lane][k % 2] = x[lane][k], rounded to the nearest, ties to even; below 2^-126 it is a zero of its sign
 * narrow: a row of weights to bf16, rounded likewise, then zeros. EXACTLY. (A row of floats is a panel's row as it is.)
 * panel: n_rows rows of n_blocks blocks of a codec, row_bytes apart, to rows of bf16, pitch bytes apart: what decode and narrow give, bit for bit.
 *     EXACTLY. For codecs whose blocks have whole KQ_TILE_STEPs, so that there is nothing to pad.
 * tile: sums[s][r][lane] = w[r] . x[s][lane] over n weights, strip s x_pitch bytes behind strip 0; with `add` it is added to the sums that are
 *     there, and without it to zeros. A pair's sum is taken in an order that n alone determines. Rows of w behind n_rows, up to a multiple
 *     of KQ_TILE_ROWS, may be read and their sums written. s < n_strips.
 * unpack, codec f32: y[lane][r] = sums[r][lane] (+ bias[r]) for one strip of m rows. EXACTLY. */
enum { KQ_LANES = 16, KQ_TILE_STEP = 32, KQ_TILE_ROWS = 48 };
typedef void kq_pack_fn(const float *const *x, size_t m, size_t n, void *out);
typedef void kq_narrow_fn(const float *w, size_t n, void *out);
typedef void kq_panel_fn(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, void *out, size_t pitch);
typedef void kq_tile_fn(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n,
                        float *sums, size_t sums_pitch, bool add);
typedef void kq_unpack_fn(const float *sums, size_t n_rows, size_t m, const float *bias, float *const *y);

/* Attention. Keys and values are cache rows, f16 or f32 as the kernel's codec, `pitch` bytes from one position to the next; rows of
 * floats have pitches in floats. All three EXACTLY: one order of sums in both numeric modes, each operation rounded, never fused.
 * score: s[j][i] = scale * (q[j] . k[i]) for m queries and n keys of `width`, in the 16 lanes of exact and the tree of kq_exact_sum.
 * soften, codec f32: max = the largest of s that is not NaN, s[i] = kq_expf(s[i] - max), sum = theirs, element i in lane i % 16, the
 *   same tree. When max is -infinity 0 is subtracted, so that such scores weigh 0.
 * blend: acc[j][d] = acc[j][d] + e[j][i] * v[i][d] for i = 0 .. n-1, upwards. */
typedef void kq_score_fn(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                         size_t s_pitch);
typedef void kq_soften_fn(float *s, size_t n, float *max, float *sum);
typedef void kq_blend_fn(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc,
                         size_t acc_pitch);

/* stream, codec f32: decode(src, n_blocks, dst), with dst stored past the caches: for results of KQ_STREAM_FROM floats (4 MB) and
 * more, which leave nothing else in the caches that a core calls its own. Blocks are of block_bytes
 * and of block_weights, which divide KQ_STREAM_PIECE. EXACTLY. After a call with `end` the results of that and
 * earlier calls are as visible as others' are: who synchronises with this thread sees them. */
enum { KQ_STREAM_PIECE = 1024, KQ_STREAM_FROM = 1 << 20 };
typedef void kq_stream_fn(kq_decode_fn *decode, const void *src, size_t n_blocks, size_t block_bytes, size_t block_weights, float *dst, bool end);

/* silu, gelu: y[i] = kq_silu(a[i]) * b[i], kq_gelu_tanh(a[i]) * b[i]; codec f32, EXACTLY. y may be a. */
typedef void kq_silu_fn(const float *a, const float *b, size_t n, float *y);
typedef void kq_gelu_fn(const float *a, const float *b, size_t n, float *y);

/* ---- the table ----------------------------------------------------------------------------------------------------- */

/* Every operation once: its function type is kq_<op>_fn. */
#define KQ_KERNEL_OPS(OP) \
    OP(decode) OP(exact) OP(act8) OP(rows1) OP(rowsm) OP(rowsf) OP(weave) OP(batch) OP(pack) OP(narrow) OP(panel) OP(tile) OP(unpack) OP(score) OP(soften) OP(blend) \
    OP(silu) OP(gelu) OP(stream)

/* The kernels that are chosen for a set of features, by codec number: table->rows1[KQ_Q4_K]. A plain value: hold as many as you
 * like. NULL: no such kernel; decode has one for every codec that decodes, score and blend for KQ_F32 and KQ_F16, and exact, act8,
 * weave, soften, silu, gelu and stream for KQ_F32. */
typedef struct kq_cpu_table {
    uint32_t features;
#define KQ_KERNEL_FIELD(op) kq_##op##_fn *op[KQ_CODEC_LIMIT];
    KQ_KERNEL_OPS(KQ_KERNEL_FIELD)
} kq_cpu_table;
/* features: of kq_cpu_usable, which has none without those that it builds on. */
void kq_cpu_select(kq_cpu_table *table, uint32_t features);

/* The rows of kernels.def, in their order, for listing and checking. */
typedef enum kq_kernel_op {
#define KQ_KERNEL_NUMBER(op) KQ_KERNEL_##op,
    KQ_KERNEL_OPS(KQ_KERNEL_NUMBER) KQ_N_KERNEL_OPS
} kq_kernel_op;
typedef enum kq_kernel_check { KQ_EXACTLY, KQ_BOUNDED } kq_kernel_check; /* how it is compared: bit for bit, or within a derived bound */
typedef struct kq_kernel {
    const char *name;  /* "rows1_q4_k_avx2" */
    const char *variant;
    kq_kernel_op op;
    uint32_t codec, needs;
    kq_kernel_check check;
    void (*fn)(void);  /* kq_<op>_fn */
} kq_kernel;
extern const kq_kernel kq_kernels[];
extern const size_t kq_n_kernels;
extern const char *const kq_kernel_op_names[KQ_N_KERNEL_OPS];

/* ---- declarations -------------------------------------------------------------------------------------------------- */

#define KQ_KERNEL(op, codec, variant, needs, check) kq_##op##_fn kq_##op##_##codec##_##variant;
#include "cpu/kernels.def"

#endif
