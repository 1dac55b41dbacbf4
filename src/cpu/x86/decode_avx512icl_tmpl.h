/* SPDX-License-Identifier: MIT */
/* decode and panel from a codec's unit of 256 weights: the second half of batch_avx512icl_tmpl.h, which says what it needs, and by
 * itself for codecs whose rows1 and rowsm take weights in another order (columns_avx512icl_tmpl.h). */

/* The scales of groups, and behind them, from 8 on or from 16 on, their minima. GCC 12 would see through the array, and permute where a broadcast
 * from memory is no shuffle. */
#define OF_GROUPS(array, scales, minima)                                   \
    _Alignas(64) float array[GROUP == 32 ? 16 : 32];                       \
    _mm512_store_ps(array, scales);                                        \
    if (GROUP == 16 && MINIMA) _mm512_store_ps(array + 256 / GROUP, minima); \
    __asm__("" : "+m"(array))

/* What sixteen codes are in a group: floats, less OFFSET where there are no minima. */
INLINE __m512 in_group(__m512 codes, const float *of_groups, int group) {
    __m512 v = _mm512_mul_ps(codes, _mm512_set1_ps(of_groups[group]));
    if (!MINIMA) return v;
    __m512 m = _mm512_set1_ps(of_groups[256 / GROUP + group]);
    return OFFSET < 0 ? _mm512_add_ps(v, m) : _mm512_sub_ps(v, m);
}

/* Weights 64p .. 64p + 63. */
INLINE void decode_64(const __m512i codes[4], const float *of_groups, int p, __m512 v[4]) {
    __m512i values = MINIMA ? codes[p] : _mm512_sub_epi8(codes[p], _mm512_set1_epi8((char)(OFFSET)));
    for (int q = 0; q < 4; q++) {
        __m128i sixteen = q == 0 ? _mm512_castsi512_si128(values) : q == 1 ? _mm512_extracti32x4_epi32(values, 1)
                        : q == 2 ? _mm512_extracti32x4_epi32(values, 2) : _mm512_extracti32x4_epi32(values, 3);
        v[q] = in_group(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen)), of_groups, GROUP == 32 ? 2 * p + q / 2 : 4 * p + q);
    }
}

INLINE void decode_unit(const BLOCK *b, const lanes *l, float *dst) {
    __m512 scales, minima, v[4];
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    unit_codes(b, l, codes);
    OF_GROUPS(of_groups, scales, minima);
    for (int p = 0; p < 4; p++) {
        decode_64(codes, of_groups, p, v);
        for (int q = 0; q < 4; q++) _mm512_storeu_ps(dst + 64 * p + 16 * q, v[q]);
    }
}

#if defined(LEVELS) || defined(MOST) && (GROUP == 32 && MOST <= 31 || MOST <= 15)

/* A group has no more than 32 different weights, and a register holds so many as bf16, of two groups where there are 16: those are computed and rounded,
 * and weights are looked up, two bytes each. That is a third of the instructions, and a quarter of the shuffles. */
ROUNDS_TO_BF16 INLINE void panel_unit(const BLOCK *b, const lanes *l, uint8_t *dst) {
    const __m512i twice_each = _mm512_set_epi64(0x1f1f1e1e1d1d1c1c, 0x1b1b1a1a19191818, 0x1717161615151414, 0x1313121211111010, 0x0f0f0e0e0d0d0c0c,
                                                0x0b0b0a0a09090808, 0x0707060605050404, 0x0303020201010000);
    __m512 scales, minima;
    __m512i codes[4], table;
    unit_scales(b, l, &scales, &minima);
#ifdef LEVELS
    enum { SIXTEEN = 1 };
    const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(LEVELS)));
    unit_names(b, l, codes);
#else
    enum { SIXTEEN = MOST <= 15 };
    const __m512 first = _mm512_sub_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_ps(MINIMA ? 0 : OFFSET));
    unit_codes(b, l, codes);
#endif
    OF_GROUPS(of_groups, scales, minima);
    for (int p = 0; p < 4; p++) {
        __m512i at = _mm512_add_epi8(codes[p], codes[p]);
        for (int half = 0; half < 2; half++) {
            int group = (64 * p + 32 * half) / GROUP;
            __m512i bytes = _mm512_permutexvar_epi8(_mm512_or_si512(twice_each, _mm512_set1_epi8((char)(32 * half))), at);
            /* the bytes of a table's entry; 0x2120: of its upper half */
            const __m512i place = GROUP == 16 ? _mm512_mask_set1_epi16(_mm512_set1_epi16(0x0100), 0xffff0000u, 0x2120)
                                              : _mm512_set1_epi16(SIXTEEN && half ? 0x2120 : 0x0100);
            if (GROUP == 16 || (SIXTEEN && !half)) table = (__m512i)_mm512_cvtne2ps_pbh(in_group(first, of_groups, group + 1), in_group(first, of_groups, group));
            else if (!SIXTEEN) /* the second sixteen of its weights are above the first */
                table = (__m512i)_mm512_cvtne2ps_pbh(in_group(_mm512_add_ps(first, _mm512_set1_ps(16)), of_groups, group), in_group(first, of_groups, group));
            _mm512_storeu_si512(dst + 128 * p + 64 * half, _mm512_permutexvar_epi8(_mm512_add_epi8(bytes, place), table));
        }
    }
}

#else

ROUNDS_TO_BF16 INLINE void panel_unit(const BLOCK *b, const lanes *l, uint8_t *dst) {
    __m512 scales, minima, v[4];
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    unit_codes(b, l, codes);
    OF_GROUPS(of_groups, scales, minima);
    for (int p = 0; p < 4; p++) {
        decode_64(codes, of_groups, p, v);
        _mm512_storeu_si512(dst + 128 * p, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
        _mm512_storeu_si512(dst + 128 * p + 64, (__m512i)_mm512_cvtne2ps_pbh(v[3], v[2]));
    }
}

#endif

void KERNEL(decode)(const void *src, size_t n_blocks, float *dst) {
    const lanes l = make_lanes();
    const BLOCK *b = src;
    for (; n_blocks >= UNIT_BLOCKS; n_blocks -= UNIT_BLOCKS, b += UNIT_BLOCKS, dst += 256) decode_unit(b, &l, dst);
    if (!n_blocks) return;
    BLOCK rest[UNIT_BLOCKS];
    float values[256];
    memset(rest, 0, sizeof rest);
    memcpy(rest, b, n_blocks * sizeof *b);
    decode_unit(rest, &l, values);
    memcpy(dst, values, n_blocks * (256 / UNIT_BLOCKS) * sizeof *dst);
}

ROUNDS_TO_BF16 void KERNEL(panel)(const void *w, size_t row_bytes, size_t n_rows, size_t n_blocks, void *out, size_t pitch) {
    const lanes l = make_lanes();
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *row = (const uint8_t *)w + r * row_bytes;
        const BLOCK *b = (const BLOCK *)(const void *)row;
        uint8_t *dst = (uint8_t *)out + r * pitch;
        size_t left = n_blocks;
        prefetch_row(row + PANEL_AHEAD * row_bytes, n_blocks * sizeof *b);
        for (; left >= UNIT_BLOCKS; left -= UNIT_BLOCKS, b += UNIT_BLOCKS, dst += 512) panel_unit(b, &l, dst);
        if (!left) continue;
        BLOCK rest[UNIT_BLOCKS];
        uint8_t values[512];
        memset(rest, 0, sizeof rest);
        memcpy(rest, b, left * sizeof *b);
        panel_unit(rest, &l, values);
        memcpy(dst, values, left * (512 / UNIT_BLOCKS));
    }
}
