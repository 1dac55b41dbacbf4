/* SPDX-License-Identifier: MIT */
/* Vectors of KQ_LANES floats for the fast encoders, and how blocks come into lanes and leave them.
 *
 * A fast encoder takes KQ_LANES blocks at once, one in each lane, and does in every lane what the reference encoder of search.h does,
 * operation for operation, in the same order: so a lane's bits are those of the reference, however many lanes there are. A sum is
 * never split among lanes; where the reference branches, lanes select. What a lane finds beyond the ranges in which that is proven
 * (integers that wrap, scales that are NaN) it reports, and the reference encodes that block again.
 *
 * Each file of this folder is compiled once for every feature tier, as KQ_VARIANT says: AVX-512, AVX2, and the baseline (SSE2, or
 * vectors of 4 as the compiler makes them). No contraction anywhere, though AVX2 could fuse: tools/check/isa looks. */
#ifndef KQ_CODEC_LANES_H
#define KQ_CODEC_LANES_H

#include "codec/blocks.h"
#include "codec/codec.h"
#include "codec/search.h"

#define LANE static inline __attribute__((always_inline))

/* The function of a codec in this file's variant: ENCODER(q4_k) is kq_encode_q4_k_avx2. */
#define PASTE(codec, variant) kq_encode_##codec##_##variant
#define EXPAND(codec, variant) PASTE(codec, variant)
#define ENCODER(codec) EXPAND(codec, KQ_VARIANT)

#if defined(__AVX512F__)
#include <immintrin.h>
enum { KQ_LANES = 16 };
typedef __m512 vf;
typedef int32_t vi __attribute__((vector_size(64), may_alias));
typedef __mmask16 vm; /* which lanes */

LANE vf v_set(float x) { return _mm512_set1_ps(x); }
LANE vi v_int(int32_t x) { return (vi)_mm512_set1_epi32(x); }
LANE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
LANE void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
LANE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
LANE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
LANE vf v_abs(vf x) { return _mm512_abs_ps(x); }
LANE vf v_sqrt(vf x) { return _mm512_sqrt_ps(x); }
LANE vf v_about_inverse(vf x) { return _mm512_rcp14_ps(x); }
#define ABOUT 0x1p-14f /* its relative error; |x| in 2^-120 .. 2^120 */
LANE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
LANE vm v_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
LANE vm v_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
LANE vf v_select(vm m, vf yes, vf no) { return _mm512_mask_mov_ps(no, m, yes); }
LANE vi v_select_int(vm m, vi yes, vi no) { return (vi)_mm512_mask_mov_epi32((__m512i)no, m, (__m512i)yes); }
LANE vi v_count(vm m, vi n) { return (vi)_mm512_mask_add_epi32((__m512i)n, m, (__m512i)n, _mm512_set1_epi32(1)); } /* n + 1 in those lanes */
LANE vm m_and(vm a, vm b) { return _kand_mask16(a, b); }
LANE vm m_or(vm a, vm b) { return _kor_mask16(a, b); }
LANE vm m_not(vm a) { return _knot_mask16(a); }
LANE bool m_any(vm m) { return m != 0; }
LANE unsigned m_bits(vm m) { return m; } /* bit i is lane i */
LANE vf v_from_bits(vi x) { return (vf)x; }
LANE vi v_bits(vf x) { return (vi)x; }
LANE vi v_truncate(vf x) { return (vi)_mm512_cvttps_epi32(x); }
LANE vf v_to_float(vi x) { return _mm512_cvtepi32_ps((__m512i)x); }
LANE vi v_to_f16(vf x) { return (vi)_mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }
LANE vf v_from_f16(vi x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)x)); }

#elif defined(__AVX2__)
#include <immintrin.h>
enum { KQ_LANES = 8 };
typedef __m256 vf;
typedef int32_t vi __attribute__((vector_size(32), may_alias));
typedef vi vm; /* all ones in the lanes that are meant */

LANE vf v_set(float x) { return _mm256_set1_ps(x); }
LANE vi v_int(int32_t x) { return (vi)_mm256_set1_epi32(x); }
LANE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
LANE void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
LANE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
LANE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
LANE vf v_abs(vf x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
LANE vf v_sqrt(vf x) { return _mm256_sqrt_ps(x); }
LANE vf v_about_inverse(vf x) { return _mm256_rcp_ps(x); }
#define ABOUT 0x1.8p-12f
LANE vm v_lt(vf a, vf b) { return (vm)_mm256_cmp_ps(a, b, _CMP_LT_OQ); }
LANE vm v_le(vf a, vf b) { return (vm)_mm256_cmp_ps(a, b, _CMP_LE_OQ); }
LANE vm v_eq(vf a, vf b) { return (vm)_mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
LANE vf v_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, (__m256)m); }
LANE vi v_select_int(vm m, vi yes, vi no) { return (vi)_mm256_blendv_epi8((__m256i)no, (__m256i)yes, (__m256i)m); }
LANE vi v_count(vm m, vi n) { return n - m; }
LANE vm m_and(vm a, vm b) { return a & b; }
LANE vm m_or(vm a, vm b) { return a | b; }
LANE vm m_not(vm a) { return ~a; }
LANE unsigned m_bits(vm m) { return (unsigned)_mm256_movemask_ps((__m256)m); }
LANE bool m_any(vm m) { return m_bits(m) != 0; }
LANE vf v_from_bits(vi x) { return (vf)x; }
LANE vi v_bits(vf x) { return (vi)x; }
LANE vi v_truncate(vf x) { return (vi)_mm256_cvttps_epi32(x); }
LANE vf v_to_float(vi x) { return _mm256_cvtepi32_ps((__m256i)x); }
LANE vi v_to_f16(vf x) { return (vi)_mm256_cvtepu16_epi32(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }
LANE vf v_from_f16(vi x) {
    __m256i low = _mm256_packus_epi32((__m256i)x, (__m256i)x); /* 0 1 2 3 0 1 2 3 | 4 5 6 7 4 5 6 7 */
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(low, 0x08)));
}

#else
enum { KQ_LANES = 4 };
typedef float vf __attribute__((vector_size(16), may_alias));
typedef int32_t vi __attribute__((vector_size(16), may_alias));
typedef vi vm;

LANE vf v_set(float x) { return (vf){x, x, x, x}; }
LANE vi v_int(int32_t x) { return (vi){x, x, x, x}; }
LANE vf v_load(const float *p) { vf x; memcpy(&x, p, sizeof x); return x; }
LANE void v_store(float *p, vf x) { memcpy(p, &x, sizeof x); }
LANE vf v_from_bits(vi x) { return (vf)x; }
LANE vi v_bits(vf x) { return (vi)x; }
LANE vf v_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }
LANE vm v_lt(vf a, vf b) { return a < b; }
LANE vm v_le(vf a, vf b) { return a <= b; }
LANE vm v_eq(vf a, vf b) { return a == b; }
LANE vf v_select(vm m, vf yes, vf no) { return (vf)((m & (vi)yes) | (~m & (vi)no)); }
LANE vi v_select_int(vm m, vi yes, vi no) { return (m & yes) | (~m & no); }
LANE vi v_count(vm m, vi n) { return n - m; }
LANE vm m_and(vm a, vm b) { return a & b; }
LANE vm m_or(vm a, vm b) { return a | b; }
LANE vm m_not(vm a) { return ~a; }
#if defined(__SSE2__)
#include <emmintrin.h>
LANE vf v_max(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
LANE vf v_min(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
LANE vf v_sqrt(vf x) { return (vf)_mm_sqrt_ps((__m128)x); }
LANE vf v_about_inverse(vf x) { return (vf)_mm_rcp_ps((__m128)x); }
#define ABOUT 0x1.8p-12f
LANE unsigned m_bits(vm m) { return (unsigned)_mm_movemask_ps((__m128)m); }
LANE vi v_truncate(vf x) { return (vi)_mm_cvttps_epi32((__m128)x); }
LANE vf v_to_float(vi x) { return (vf)_mm_cvtepi32_ps((__m128i)x); }
#else
LANE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
LANE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
LANE vf v_sqrt(vf x) {
    return (vf){__builtin_sqrtf(x[0]), __builtin_sqrtf(x[1]), __builtin_sqrtf(x[2]), __builtin_sqrtf(x[3])};
}
LANE vf v_about_inverse(vf x) { return v_set(1) / x; }
#define ABOUT 0x1p-23f
LANE unsigned m_bits(vm m) { return (unsigned)((m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8)); }
LANE vi v_truncate(vf x) { return (vi){kq_truncate(x[0]), kq_truncate(x[1]), kq_truncate(x[2]), kq_truncate(x[3])}; }
LANE vf v_to_float(vi x) { return __builtin_convertvector(x, vf); }
#endif
LANE bool m_any(vm m) { return m_bits(m) != 0; }
LANE vi v_to_f16(vf x) { return (vi){kq_f32_to_f16(x[0]), kq_f32_to_f16(x[1]), kq_f32_to_f16(x[2]), kq_f32_to_f16(x[3])}; }
LANE vf v_from_f16(vi x) {
    return (vf){kq_f16_to_f32((uint16_t)x[0]), kq_f16_to_f32((uint16_t)x[1]), kq_f16_to_f32((uint16_t)x[2]), kq_f16_to_f32((uint16_t)x[3])};
}
#endif

LANE vm v_gt(vf a, vf b) { return v_lt(b, a); }
LANE vm v_ge(vf a, vf b) { return v_le(b, a); }
LANE vi v_select_bit(vm m, int32_t bit) { return v_select_int(m, v_int(bit), v_int(0)); }
LANE vf v_neg(vf x) { return v_from_bits(v_bits(x) ^ v_int(INT32_MIN)); }
LANE vf v_zero(void) { return v_set(0); }
LANE vm m_none(void) { return v_lt(v_zero(), v_zero()); }
LANE vm v_is_nan(vf x) { return m_not(v_eq(x, x)); }
/* The lanes where one of n is infinite or NaN. */
LANE vm v_not_finite(const vf *x, size_t n) {
    vf sum = v_zero();
    for (size_t i = 0; i < n; i++) sum += x[i] - x[i];
    return m_not(v_eq(sum, v_zero()));
}

/* ---- roundings ------------------------------------------------------------------------------------------------------- */

/* kq_nearest(f), cut to low .. high, as floats, where |f| <= 2^22. Adding 1.5 * 2^23 rounds; the cut comes before taking it off again,
 * where it is the same. v_code has the integer in its low byte. */
#define MAGIC 12582912.0f
LANE vf v_nearest_raw(vf f, int low, int high) { return v_min(v_max(f + v_set(MAGIC), v_set(MAGIC + (float)low)), v_set(MAGIC + (float)high)); }
LANE vf v_nearest(vf f, int low, int high) { return v_nearest_raw(f, low, high) - v_set(MAGIC); }
/* The integer of v_nearest_raw. */
LANE vi v_code(vf raw) { return v_bits(raw) - v_int(0x4b400000); }
/* kq_round_away where |f| < 2^22: towards zero, of f and the greatest float below a half. */
LANE vi v_round_away(vf f) { return v_truncate(f + v_from_bits((v_bits(f) & INT32_MIN) | 0x3effffff)); }
/* What a v_nearest is good for: false too for NaN. */
LANE vm v_tame(vf f) { return v_lt(v_abs(f), v_set(0x1p22f)); }

/* ---- in and out ------------------------------------------------------------------------------------------------------ */

/* Element e of the block in each lane is x[e]. A batch that is not full has the last block again in the lanes left over. */

#if defined(__AVX512F__)
/* r[j]'s quarter q: 4 floats of lane 4q + j */
LANE vf quarters(const float *const *p, size_t j, size_t at) {
    __m512 r = _mm512_castps128_ps512(_mm_loadu_ps(p[j] + at));
    r = _mm512_insertf32x4(r, _mm_loadu_ps(p[4 + j] + at), 1);
    r = _mm512_insertf32x4(r, _mm_loadu_ps(p[8 + j] + at), 2);
    return _mm512_insertf32x4(r, _mm_loadu_ps(p[12 + j] + at), 3);
}
LANE void put_quarters(uint8_t *const *p, size_t j, size_t at, vf r) {
    _mm_storeu_ps((float *)(void *)(p[j] + at), _mm512_castps512_ps128(r));
    _mm_storeu_ps((float *)(void *)(p[4 + j] + at), _mm512_extractf32x4_ps(r, 1));
    _mm_storeu_ps((float *)(void *)(p[8 + j] + at), _mm512_extractf32x4_ps(r, 2));
    _mm_storeu_ps((float *)(void *)(p[12 + j] + at), _mm512_extractf32x4_ps(r, 3));
}
LANE void transpose4(vf r[4]) {
    __m512 a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
    __m512 c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = _mm512_shuffle_ps(a, c, 0x44);
    r[1] = _mm512_shuffle_ps(a, c, 0xee);
    r[2] = _mm512_shuffle_ps(b, d, 0x44);
    r[3] = _mm512_shuffle_ps(b, d, 0xee);
}
#elif defined(__AVX2__)
LANE vf quarters(const float *const *p, size_t j, size_t at) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p[j] + at)), _mm_loadu_ps(p[4 + j] + at), 1);
}
LANE void put_quarters(uint8_t *const *p, size_t j, size_t at, vf r) {
    _mm_storeu_ps((float *)(void *)(p[j] + at), _mm256_castps256_ps128(r));
    _mm_storeu_ps((float *)(void *)(p[4 + j] + at), _mm256_extractf128_ps(r, 1));
}
LANE void transpose4(vf r[4]) {
    __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_shuffle_ps(a, c, 0x44);
    r[1] = _mm256_shuffle_ps(a, c, 0xee);
    r[2] = _mm256_shuffle_ps(b, d, 0x44);
    r[3] = _mm256_shuffle_ps(b, d, 0xee);
}
#else
LANE vf quarters(const float *const *p, size_t j, size_t at) { return v_load(p[j] + at); }
LANE void put_quarters(uint8_t *const *p, size_t j, size_t at, vf r) { memcpy(p[j] + at, &r, sizeof r); }
#ifdef __clang__
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (vi){i, j, k, l})
#endif
LANE void transpose4(vf r[4]) {
    vf a = SHUFFLE(r[0], r[1], 0, 4, 1, 5), b = SHUFFLE(r[0], r[1], 2, 6, 3, 7);
    vf c = SHUFFLE(r[2], r[3], 0, 4, 1, 5), d = SHUFFLE(r[2], r[3], 2, 6, 3, 7);
    r[0] = SHUFFLE(a, c, 0, 1, 4, 5);
    r[1] = SHUFFLE(a, c, 2, 3, 6, 7);
    r[2] = SHUFFLE(b, d, 0, 1, 4, 5);
    r[3] = SHUFFLE(b, d, 2, 3, 6, 7);
}
#endif

/* x[e] = element e of every lane's block p[lane], e = 0 .. n-1; n is a multiple of 4. */
LANE void lanes_in(const float *const p[KQ_LANES], size_t n, vf *x) {
    for (size_t e = 0; e < n; e += 4) {
        for (size_t j = 0; j < 4; j++) x[e + j] = quarters(p, j, e);
        transpose4(x + e);
    }
}

/* Bytes at .. at + 15 of every lane's block: words[0 .. 3], the first byte lowest. */
LANE void lanes_out(uint8_t *const p[KQ_LANES], size_t at, const vi words[4]) {
    vf r[4];
    for (int j = 0; j < 4; j++) r[j] = v_from_bits(words[j]);
    transpose4(r);
    for (size_t j = 0; j < 4; j++) put_quarters(p, j, at, r[j]);
}

/* The first n of those bytes. */
LANE void lanes_out_part(uint8_t *const p[KQ_LANES], size_t at, const vi words[4], size_t n) {
    uint8_t whole[KQ_LANES][16], *to[KQ_LANES];
    for (size_t i = 0; i < KQ_LANES; i++) to[i] = whole[i];
    lanes_out(to, 0, words);
    for (size_t i = 0; i < KQ_LANES; i++) memcpy(p[i] + at, whole[i], n);
}

/* The lower half of a word of every lane. */
LANE void lanes_out_half(uint8_t *const p[KQ_LANES], size_t at, vi word) {
    int32_t each[KQ_LANES];
    memcpy(each, &word, sizeof each);
    for (size_t i = 0; i < KQ_LANES; i++) memcpy(p[i] + at, &each[i], 2);
}

/* ---- batches --------------------------------------------------------------------------------------------------------- */

/* KQ_LANES blocks: where they are, their importances (weighted or not), and where they go. */
typedef struct batch {
    const float *x[KQ_LANES], *importances[KQ_LANES];
    uint8_t *out[KQ_LANES];
    size_t n; /* lanes that count; the others hold the last block again and write beside */
} batch;

/* Fills the lanes with blocks first .. of a matrix whose rows have row_blocks blocks each, of which there are n_blocks in all.
 * beside: block_bytes that nobody reads. */
LANE void batch_fill(batch *b, const float *src, const float *importances, uint8_t *dst, size_t first, size_t n_blocks, size_t row_blocks,
                     size_t block_weights, size_t block_bytes, uint8_t *beside) {
    b->n = KQ_MIN(n_blocks - first, (size_t)KQ_LANES);
    size_t column = importances ? first % row_blocks : 0, last = b->n - 1;
    for (size_t i = 0; i < b->n; i++) {
        b->x[i] = src + (first + i) * block_weights;
        b->importances[i] = importances ? importances + column * block_weights : NULL;
        b->out[i] = dst + (first + i) * block_bytes;
        if (++column == row_blocks) column = 0;
    }
    for (size_t i = b->n; i < KQ_LANES; i++) {
        b->x[i] = b->x[last];
        b->importances[i] = b->importances[last];
        b->out[i] = beside;
    }
}

/* The reference encodes the blocks of these lanes again. */
LANE void batch_redo(const batch *b, vm lanes, kq_encode_fn *reference, size_t block_weights) {
    for (unsigned left = m_bits(lanes), i = 0; left; left >>= 1, i++) {
        if ((left & 1) && i < b->n) (void)reference(b->x[i], block_weights, b->importances[i], b->out[i]);
    }
}

/* Encodes a batch, and says which lanes the reference must encode again. */
typedef vm batch_encode_fn(const batch *b);

/* Encodes a matrix, batch after batch. importances: NULL where the codec knows none. */
LANE bool batches_encode(batch_encode_fn *encode, kq_encode_fn *reference, size_t block_weights, size_t block_bytes, const float *src, size_t rows,
                         size_t cols, const float *importances, uint8_t *dst) {
    uint8_t beside[256];
    size_t n_blocks = rows * cols / block_weights;
    assert(block_bytes <= sizeof beside);
    for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
        batch b;
        batch_fill(&b, src, importances, dst, first, n_blocks, cols / block_weights, block_weights, block_bytes, beside);
        vm redo = encode(&b);
        if (m_any(redo)) batch_redo(&b, redo, reference, block_weights);
    }
    return true;
}

#endif
