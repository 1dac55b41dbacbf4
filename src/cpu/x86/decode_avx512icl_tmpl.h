/* SPDX-License-Identifier: MIT */
/* decode from a codec's unit of 256 weights: the second half of unit_avx512icl_tmpl.h and of batch_avx512icl_tmpl.h, which say what it needs. */
INLINE void decode_unit(const BLOCK *b, const lanes *l, float *dst) {
    __m512 scales, minima;
    __m512i codes[4];
    unit_scales(b, l, &scales, &minima);
    unit_codes(b, l, codes);
    for (int p = 0; p < 4; p++) {
        __m512i values = MINIMA ? codes[p] : _mm512_sub_epi8(codes[p], _mm512_set1_epi8((char)(OFFSET)));
        for (int q = 0; q < 4; q++) {
            __m128i sixteen = q == 0 ? _mm512_castsi512_si128(values) : q == 1 ? _mm512_extracti32x4_epi32(values, 1)
                            : q == 2 ? _mm512_extracti32x4_epi32(values, 2) : _mm512_extracti32x4_epi32(values, 3);
            __m512i lane = _mm512_set1_epi32(GROUP == 32 ? 2 * p + q / 2 : 4 * p + q);
            __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(sixteen)), _mm512_permutexvar_ps(lane, scales));
            if (MINIMA) {
                __m512 m = GROUP == 32 ? _mm512_permutexvar_ps(_mm512_add_epi32(lane, _mm512_set1_epi32(8)), scales) : _mm512_permutexvar_ps(lane, minima);
                v = OFFSET < 0 ? _mm512_add_ps(v, m) : _mm512_sub_ps(v, m);
            }
            _mm512_storeu_ps(dst + 64 * p + 16 * q, v);
        }
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
