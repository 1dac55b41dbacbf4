/* SPDX-License-Identifier: MIT */
/* decode, rows1 and rowsm of a codec for AVX2, from how it takes a unit of 256 weights apart. Before including:
 *
 *     KERNEL(op)    spells the kernels' names
 *     BLOCK         the block's type; UNIT_BLOCKS, how many are a unit: 1, 2, 4 or 8
 *     SCALING       BY_32: a scale for each 32 weights; BY_16: for each 16; STEPS_16: for each 16, and it is d times a whole number
 *     OFFSET        what a code stands for: a weight is (code - OFFSET) * scale. Codes are 0 .. 129. SIGNED instead of it: a weight is
 *                   code * scale, and codes are -128 .. 127
 *     MINIMA        1: a weight is code * scale - OFFSET * minimum, OFFSET being 1 or -1; 0 otherwise
 *     unit_open(b, u)         the unit's scales: BY_32 in scales[0] (and minima in minima[0]); BY_16 in both; STEPS_16: d and steps, which are
 *                             -128 .. 127, and minima in both
 *     unit_codes(b, u, g)     the codes of weights 32g .. 32g + 31; g counts upwards
 *     MOST          the largest code, of a codec that has batch: see batch_avx2_tmpl.h, which then has rows1 and rowsm too; else not defined
 *     and no other definition of a symbol. All bytes from b on to the end of the unit may be read.
 *
 * No integer saturates. vpmaddubsw adds two products of an unsigned code and an activation of -127 .. 127 to 16 bits: at most 2 * 129 * 127 =
 * 32766. Signed codes give their sign to the activation (vpsignb, exact as an activation is never -128) and count with their magnitude, at
 * most 128: 32512. vpmaddwd adds two of these, times 1 or times a step of up to 128 in magnitude: less than 2^24, which is exact in f32.
 *
 * Offsets and minima are multiplied by the sums of activations, eight groups an instruction, and are taken off at the end of a row. A group's
 * scale times its activations' is one float: eight are stored once and broadcast by the loads that use them.
 *
 * Each pair of rows has one sum for even groups, one for odd ones and one for what comes off; units are added in order. So what a pair gives
 * does not depend on M. A row's last blocks that are no whole unit go the same way with the missing ones as zeros, so nothing behind the
 * row is read. */

#define BY_32 1
#define BY_16 2
#define STEPS_16 3
#ifdef SIGNED
#define OFFSET 0
#define HAS_SIGN 1
#else
#define HAS_SIGN 0
#endif

/* All sixteen scales of a unit. */
INLINE __m256 scales_of_16(const unit *u, int half) {
    if (SCALING != STEPS_16) return u->scales[half];
    __m128i steps = half ? _mm256_extracti128_si256(u->steps, 1) : _mm256_castsi256_si128(u->steps);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(steps)), u->d);
}

#ifdef MOST
#include "cpu/x86/batch_avx2_tmpl.h"
#else

/* Of a unit's sixteen scales or steps those of groups 2g and 2g + 1, as often as there are lanes for each. */
INLINE __m256 scale_pair(const unit *u, int g) {
    const __m256i first = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return _mm256_permutevar8x32_ps(u->scales[g / 4], _mm256_add_epi32(first, _mm256_set1_epi32(2 * (g % 4))));
}
INLINE __m256i step_pair(const unit *u, int g) {
    __m256i half = g < 4 ? _mm256_permute4x64_epi64(u->steps, 0x44) : _mm256_permute4x64_epi64(u->steps, 0xee); /* twice the same eight */
    __m128i low = _mm_set1_epi16((short)(0x0100 + 0x0404 * (g % 4))), high = _mm_set1_epi16((short)(0x0302 + 0x0404 * (g % 4)));
    return _mm256_shuffle_epi8(half, _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
}

/* What the offsets or minima of a unit take off. */
INLINE __m256 offset_part(const unit *u, const kq_act8 *a) {
    __m256 part;
    if (SCALING == BY_32) {
        part = _mm256_mul_ps(MINIMA ? u->minima[0] : u->scales[0], _mm256_load_ps(a->sum));
    } else {
        part = _mm256_mul_ps(MINIMA ? u->minima[0] : scales_of_16(u, 0), _mm256_load_ps(a->sum16));
        part = _mm256_fmadd_ps(MINIMA ? u->minima[1] : scales_of_16(u, 1), _mm256_load_ps(a->sum16 + 8), part);
    }
    return OFFSET == -1 ? part : _mm256_mul_ps(part, _mm256_set1_ps(-(OFFSET)));
}

INLINE void add_unit(const BLOCK *b, const kq_act8 *const *x, size_t i, __m256 *sum, const size_t M) {
    _Alignas(32) float t[4][8];
    __m256 part[4];
    unit u;
    unit_open(b, &u);
    for (size_t j = 0; j < M; j++) {
        __m256 scale = _mm256_load_ps(x[j][i].scale);
        if (SCALING == BY_32) scale = _mm256_mul_ps(u.scales[0], scale);
        if (SCALING == STEPS_16) scale = _mm256_mul_ps(u.d, scale);
        _mm256_store_ps(t[j], scale);
        if (OFFSET != 0) part[j] = offset_part(&u, x[j] + i);
    }
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i codes = unit_codes(b, &u, g), magnitudes = HAS_SIGN ? _mm256_sign_epi8(codes, codes) : codes;
        __m256i steps = SCALING == STEPS_16 ? step_pair(&u, g) : _mm256_set1_epi16(1);
        for (size_t j = 0; j < M; j++) {
            __m256i q = load32(x[j][i].q + 32 * g);
            __m256i pairs = _mm256_maddubs_epi16(magnitudes, HAS_SIGN ? _mm256_sign_epi8(q, codes) : q);
            __m256 products = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, steps)), scale = _mm256_broadcast_ss(&t[j][g]);
            if (SCALING == BY_16) scale = _mm256_mul_ps(scale, scale_pair(&u, g));
            part[j] = g > 0 || OFFSET != 0 ? _mm256_fmadd_ps(products, scale, part[j]) : _mm256_mul_ps(products, scale);
        }
    }
    for (size_t j = 0; j < M; j++) sum[j] = _mm256_add_ps(sum[j], part[j]);
}

/* The last blocks of a row, with zeros behind them. Out of line, for any M: the loops of rows_m would each have it once more. */
static __attribute__((noinline)) void add_rest(const BLOCK *b, size_t left, const kq_act8 *const *x, size_t i, __m256 *sum, size_t m) {
    BLOCK rest[UNIT_BLOCKS];
    memset(rest, 0, sizeof rest);
    memcpy(rest, b, left * sizeof *b);
    add_unit(rest, x, i, sum, m);
}

INLINE void rows_m(const uint8_t *w, size_t row_bytes, size_t n_rows, size_t n_blocks, const kq_act8 *const *x, float *const *y, const size_t M) {
    size_t whole = n_blocks / UNIT_BLOCKS, left = n_blocks % UNIT_BLOCKS;
    for (size_t r = 0; r < n_rows; r++, w += row_bytes) {
        const BLOCK *b = (const BLOCK *)(const void *)w;
        __m256 sum[4], all[4];
        for (size_t j = 0; j < M; j++) sum[j] = _mm256_setzero_ps();
        for (size_t i = 0; i < whole; i++) {
            prefetch_weights(b + UNIT_BLOCKS * i, UNIT_BLOCKS * sizeof *b);
            add_unit(b + UNIT_BLOCKS * i, x, i, sum, M);
        }
        for (size_t j = 0; j < M; j++) all[j] = sum[j]; /* a copy, so that sum stays in registers */
        if (left) add_rest(b + UNIT_BLOCKS * whole, left, x, whole, all, M);
        for (size_t j = 0; j < M; j++) y[j][r] = sum8(all[j]);
    }
}

#define ROWS_OF(op) KERNEL(op)
#include "cpu/x86/rowsm_tmpl.h"

#endif

INLINE void decode_unit(const BLOCK *b, float *dst) {
    _Alignas(32) float scales[16], minima[16];
    unit u;
    unit_open(b, &u);
    for (int half = 0; half < (SCALING == BY_32 ? 1 : 2); half++) {
        _mm256_store_ps(scales + 8 * half, SCALING == BY_32 ? u.scales[0] : scales_of_16(&u, half));
        if (MINIMA) _mm256_store_ps(minima + 8 * half, u.minima[half]);
    }
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
        __m256i codes = unit_codes(b, &u, g), values = MINIMA || HAS_SIGN ? codes : _mm256_sub_epi8(codes, _mm256_set1_epi8((char)(OFFSET)));
        for (int k = 0; k < 4; k++) {
            int group = SCALING == BY_32 ? g : 2 * g + k / 2;
            __m256 v = _mm256_mul_ps(signed_bytes(values, k), _mm256_broadcast_ss(&scales[group]));
            if (MINIMA) {
                __m256 m = _mm256_broadcast_ss(&minima[group]);
                v = OFFSET < 0 ? _mm256_add_ps(v, m) : _mm256_sub_ps(v, m);
            }
            _mm256_storeu_ps(dst + 32 * g + 8 * k, v);
        }
    }
}

void KERNEL(decode)(const void *src, size_t n_blocks, float *dst) {
    const BLOCK *b = src;
    for (; n_blocks >= UNIT_BLOCKS; n_blocks -= UNIT_BLOCKS, b += UNIT_BLOCKS, dst += 256) decode_unit(b, dst);
    if (!n_blocks) return;
    BLOCK rest[UNIT_BLOCKS];
    float values[256];
    memset(rest, 0, sizeof rest);
    memcpy(rest, b, n_blocks * sizeof *b);
    decode_unit(rest, values);
    memcpy(dst, values, n_blocks * (256 / UNIT_BLOCKS) * sizeof *dst);
}
