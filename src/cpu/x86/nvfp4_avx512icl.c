/* SPDX-License-Identifier: MIT */
/* nvfp4 for AVX-512: 8 bytes hold 16 codes, eight in low and eight in high nibbles; they name levels -12 .. 12. A scale is a UE4M3, whose bits are
 * those of a binary16 with another bias. */
#include "cpu/x86/unit_avx512icl.h"

#define KERNEL(op) kq_##op##_nvfp4_avx512icl
#define BLOCK kq_block_nvfp4
#define UNIT_BLOCKS 4
#define GROUP 16
#define MOST 24
#define OFFSET 12
#define LEVELS kq_levels_e2m1
#define MINIMA 0

typedef struct lanes {
    __m512i nibbles, levels, eights;
} lanes;

INLINE lanes make_lanes(void) {
    lanes l;
    l.nibbles = _mm512_setr_epi64(LOW_NIBBLE, HIGH_NIBBLE, LOW_NIBBLE, HIGH_NIBBLE, LOW_NIBBLE, HIGH_NIBBLE, LOW_NIBBLE, HIGH_NIBBLE);
    l.levels = sixteen_levels(LEVELS, OFFSET);
    l.eights = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
    return l;
}

INLINE void unit_names(const BLOCK *b, const lanes *l, __m512i names[4]) {
    for (int p = 0; p < 4; p++) {
        __m512i qs = _mm512_permutexvar_epi64(l->eights, _mm512_castsi256_si512(load32(b[p].qs)));
        names[p] = _mm512_gf2p8affine_epi64_epi8(qs, l->nibbles, 0);
    }
}

INLINE void unit_codes(const BLOCK *b, const lanes *l, __m512i codes[4]) {
    unit_names(b, l, codes);
    for (int p = 0; p < 4; p++) codes[p] = _mm512_shuffle_epi8(l->levels, codes[p]);
}

INLINE void unit_scales(const BLOCK *b, const lanes *l, __m512 *scales, __m512 *minima) {
    (void)l;
    __m128i u = _mm_setr_epi32((int)kq_load_u32(b[0].scales), (int)kq_load_u32(b[1].scales), (int)kq_load_u32(b[2].scales), (int)kq_load_u32(b[3].scales));
    u = _mm_maskz_mov_epi8(_mm_cmpneq_epi8_mask(u, _mm_set1_epi8(0x7f)), _mm_and_si128(u, _mm_set1_epi8(0x7f))); /* 0x7f is no number: 0 */
    __m512 s = _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(u), 7));
    *scales = *minima = _mm512_mul_ps(s, _mm512_set1_ps(128)); /* biases 15 and 7, and half of it */
}

/* 16 bytes hold a group of 32: dwords 0 and 1 (4 and 5) in the low nibbles of the first (last) eight, 2 and 3 (6 and 7) in their high ones. */
#define TURNED
INLINE void pair_turned(const BLOCK *b, const BLOCK *next, const lanes *l, __m512i q[8]) {
    __m512i c[4], bytes[4];
    for (int p = 0; p < 4; p++) c[p] = _mm512_inserti64x4(_mm512_castsi256_si512(load32(b[p].qs)), load32(next[p].qs), 1);
    turn_quarters(c, bytes);
    for (int i = 0; i < 4; i++) {
        q[4 * (i / 2) + i % 2] = _mm512_shuffle_epi8(l->levels, low_nibbles(bytes[i]));
        q[4 * (i / 2) + 2 + i % 2] = _mm512_shuffle_epi8(l->levels, high_nibbles(bytes[i]));
    }
}

#include "cpu/x86/batch_avx512icl_tmpl.h"
