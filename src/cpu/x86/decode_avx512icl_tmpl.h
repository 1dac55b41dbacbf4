/* SPDX-License-Identifier: MIT */
/* decode and panel from a codec's unit of 256 weights: the second half of batch_avx512icl_tmpl.h, which says what it needs, and by
 * itself for codecs whose rows1 and rowsm take weights in another order (columns_avx512icl_tmpl.h). */

/* Weights 64p .. 64p + 63. */
INLINE void decode_64(const __m512i codes[4], __m512 scales, __m512 minima, int p, __m512 v[4]) {
    __m512i values = MINIMA ? codes[p] : _mm512_sub_epi8(codes[p], _mm512_set1_epi8((char)(OFFSET)));
    for (int q = 0; q < 4; q++) {
        __m128i sixteen = q == 0 ? _mm512_castsi512_si128(values) : q == 1 ? _mm512_extracti32x4_epi32(values, 1)
                        : q == 2 ? _mm512_extracti32x4_epi32(values, 2) : _mm512_extracti32x4_epi32(values, 3);
        __m512i lane = _mm512_set1_epi32(GROUP == 32 ? 2 * p + q / 2 : 4 * p + q);
        v[q] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen)), _mm512_permutexvar_ps(lane, scales));
        if (MINIMA) {
            __m512 m = GROUP == 32 ? _mm512_permutexvar_ps(_mm512_add_epi32(lane, _mm512_set1_epi32(8)), scales) : _mm512_permutexvar_ps(lane, minima);
            v[q] = OFFSET < 0 ? _mm512_add_ps(v[q], m) : _mm512_sub_ps(v[q], m);
        }
    }
}

INLINE void decode_unit(const BLOCK *b, const lanes *l, float *dst) {
    __m512 scales, minima, v[4];
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    unit_codes(b, l, codes);
    for (int p = 0; p < 4; p++) {
        decode_64(codes, scales, minima, p, v);
        for (int q = 0; q < 4; q++) _mm512_storeu_ps(dst + 64 * p + 16 * q, v[q]);
    }
}

ROUNDS_TO_BF16 INLINE void panel_unit(const BLOCK *b, const lanes *l, uint8_t *dst) {
    __m512 scales, minima, v[4];
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    unit_codes(b, l, codes);
    for (int p = 0; p < 4; p++) {
        decode_64(codes, scales, minima, p, v);
        _mm512_storeu_si512(dst + 128 * p, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
        _mm512_storeu_si512(dst + 128 * p + 64, (__m512i)_mm512_cvtne2ps_pbh(v[3], v[2]));
    }
}

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
