/* SPDX-License-Identifier: MIT */
/* q2_k with a super-block in each lane: the reference is in k_encode.c. */
#include "codec/lanes/k_lanes.h"

/* The 4-bit codes of 16 values that should not be negative, without importances. */
LANE vm q2_scales(const vf values[16], vf *scale, vi codes[16]) {
    vf most = v_zero(), least = v_zero();
    for (int g = 0; g < 16; g++) {
        most = v_max(values[g], most);
        least = v_min(values[g], least);
    }
    vm some = v_gt(most, v_zero());
    vf inverse = v_select(some, v_set(15) / most, v_zero());
    for (int g = 0; g < 16; g++) codes[g] = v_code(v_nearest_raw(inverse * values[g], 0, 15));
    *scale = v_select(some, most / v_set(15), v_zero());
    return m_or(m_not(v_eq(least, v_zero())), m_not(v_lt(inverse, v_set(0x1p127f)))); /* what is below 0 wraps */
}

LANE vm encode_q2(const batch *b) {
    static const kq_affine_trials plain = {.first = -0.5f, .step = 0.1f, .last = 15, .absolute = true};
    static const kq_affine_trials weighted = {.first = -0.9f, .step = 0.05f, .last = 36};
    vf x[256], w[256], sums[16], scales[16], mins[16], d, dmin;
    vi sc[16], mn[16], codes[256], words[4];
    affine found[16];
    bool with = b->importances[0] != NULL;
    lanes_in(b->x, 256, x);
    if (with) weigh_groups(b, x, 1, 16, w, sums);
    else for (int i = 0; i < 256; i++) w[i] = v_abs(x[i]);
    vm redo = m_none();
    for (int g = 0; g < 16; g += 2) {
        if (with) search_affine(2, 16, 3, x + 16 * g, w + 16 * g, &weighted, found + g);
        else search_affine(2, 16, 3, x + 16 * g, w + 16 * g, &plain, found + g);
        for (int p = g; p < g + 2; p++) {
            scales[p] = found[p].scale;
            mins[p] = found[p].min;
            redo = m_or(redo, found[p].wild);
        }
    }
    redo = m_or(redo, with ? search_positive(16, 15, scales, sums, &d, sc) : q2_scales(scales, &d, sc));
    redo = m_or(redo, with ? search_positive(16, 15, mins, sums, &dmin, mn) : q2_scales(mins, &dmin, mn));
    redo = m_or(redo, m_or(v_not_finite(scales, 16), v_not_finite(mins, 16)));
    redo = m_or(redo, m_or(v_not_finite(&d, 1), v_not_finite(&dmin, 1)));
    vi d16 = v_to_f16(d), dmin16 = v_to_f16(dmin);
    d = v_from_f16(d16);
    dmin = v_from_f16(dmin16);
    for (int g = 0; g < 16; g++) {
        vm wild = again_affine(16, 3, x + 16 * g, found + g, d * v_to_float(sc[g]), dmin * v_to_float(mn[g]), codes + 16 * g);
        redo = m_or(redo, wild);
    }
    for (int k = 0; k < 4; k++) {
        words[k] = v_int(0);
        for (int j = 0; j < 4; j++) words[k] |= (sc[4 * k + j] | mn[4 * k + j] << 4) << 8 * j;
    }
    lanes_out(b->out, 0, words);
    put_planes(b, codes, 0, 16);
    lanes_out_half(b->out, 80, d16);
    lanes_out_half(b->out, 82, dmin16);
    return redo;
}

bool ENCODER(q2_k)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return batches_encode(encode_q2, kq_encode_q2_k, 256, sizeof(kq_block_q2_k), src, rows, cols, importances, dst);
}
