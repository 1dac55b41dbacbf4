/* SPDX-License-Identifier: MIT */
/* q6_k with a super-block in each lane: the reference is in k_encode.c. */
#include "codec/lanes/k_lanes.h"

LANE vm encode_q6(const batch *b) {
    vf x[256], w[256], scales[16];
    vi sc[16], codes[256];
    signed_fit found[16];
    bool with = b->importances[0] != NULL;
    lanes_in(b->x, 256, x);
    if (with) lanes_in(b->importances, 256, w); /* as they are: alone of its family */
    for (int g = 0; g < 16; g += 2) {
        search_signed(2, 16, 32, x + 16 * g, with ? w + 16 * g : NULL, found + g);
        scales[g] = found[g].scale;
        scales[g + 1] = found[g + 1].scale;
    }
    vf most = v_greatest_signed(scales, 16);
    vm zero = v_lt(v_abs(most), v_set(1e-15f)), redo = v_not_finite(scales, 16);
    vf inverse = v_set(-128) / v_select(zero, v_set(1), most);
    vi d16 = v_select_int(zero, v_int(0), v_to_f16(v_set(1) / inverse));
    vf d = v_from_f16(d16);
    for (int g = 0; g < 16; g++) {
        vf q = v_nearest(inverse * scales[g], -128, 127);
        sc[g] = v_select_int(zero, v_int(0), v_truncate(q)) & 255;
        vm kept = v_eq(d * q, v_zero());
        if (m_any(kept)) signed_codes(16, 32, x + 16 * g, found + g, codes + 16 * g);
        redo = m_or(redo, m_and(again_signed(16, 32, x + 16 * g, found[g].most, d * q, codes + 16 * g), m_not(zero)));
    }
    if (m_any(zero)) {
        for (int i = 0; i < 256; i++) codes[i] = v_select_int(zero, v_int(0), codes[i]);
    }
    for (int i = 0; i < 128; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            const vi *c = codes + 128 * (i / 64) + i % 64 + 4 * k;
            words[k] = v_int(0);
            for (int j = 0; j < 4; j++) words[k] |= ((c[j] & 15) | (c[j + 64] & 15) << 4) << 8 * j;
        }
        lanes_out(b->out, (size_t)i, words);
    }
    put_planes(b, codes, 4, 128);
    vi words[4];
    for (int k = 0; k < 4; k++) words[k] = sc[4 * k] | sc[4 * k + 1] << 8 | sc[4 * k + 2] << 16 | sc[4 * k + 3] << 24;
    lanes_out(b->out, 192, words);
    lanes_out_half(b->out, 208, d16);
    return redo;
}

bool ENCODER(q6_k)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return batches_encode(encode_q6, kq_encode_q6_k, 256, sizeof(kq_block_q6_k), src, rows, cols, importances, dst);
}
