/* SPDX-License-Identifier: MIT */
/* q4_k and q5_k with a super-block in each lane: the reference is in k_encode.c. */
#include "codec/lanes/k_lanes.h"

/* The 6-bit codes of 8 values that should not be negative, without importances. */
LANE vm k4_scales(const vf values[8], vf *scale, vi codes[8]) {
    vf most = v_zero(), least = v_zero();
    for (int g = 0; g < 8; g++) {
        most = v_max(values[g], most);
        least = v_min(values[g], least);
    }
    vm some = v_gt(most, v_zero());
    vf inverse = v_select(some, v_set(63) / most, v_zero());
    for (int g = 0; g < 8; g++) codes[g] = v_code(v_nearest_raw(inverse * values[g], 0, 63));
    *scale = most / v_set(63);
    return m_or(m_not(v_eq(least, v_zero())), m_not(v_lt(inverse, v_set(0x1p127f)))); /* what is below 0 wraps */
}

/* The 12 bytes of scales and minima, in three words. */
LANE void k4_pack(const vi sc[8], const vi mn[8], vi words[3]) {
    for (int k = 0; k < 3; k++) words[k] = v_int(0);
    for (int j = 0; j < 4; j++) {
        words[0] |= (sc[j] | sc[j + 4] >> 4 << 6) << 8 * j;
        words[1] |= (mn[j] | mn[j + 4] >> 4 << 6) << 8 * j;
        words[2] |= ((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4) << 8 * j;
    }
}

/* Weights without importances: |x| and the root mean square of the group. */
LANE void weigh_by_size(const vf *x, vf *w) {
    vf average = v_sqrt(v_sum_of_squares(x, 32) / v_set(32));
    for (int i = 0; i < 32; i++) w[i] = average + v_abs(x[i]);
}

/* A batch up to its codes. Returns the lanes that the reference shall encode again. */
LANE vm encode_k4(int n_max, const batch *b, vi head[4], vi codes[256]) {
    static const kq_affine_trials plain4 = {.first = -1.0f, .step = 0.1f, .last = 20}, plain5 = {.first = -0.5f, .step = 0.1f, .last = 15};
    static const kq_affine_trials weighted = {.first = -0.9f, .step = 0.05f, .last = 36};
    vf x[256], w[256], sums[8], scales[8], mins[8], d, dmin;
    vi sc[8], mn[8];
    affine found[8];
    bool with = b->importances[0] != NULL;
    lanes_in(b->x, 256, x);
    if (with) weigh_groups(b, x, 2, 32, w, sums);
    else for (int g = 0; g < 8; g++) weigh_by_size(x + 32 * g, w + 32 * g);
    vm redo = m_none();
    for (int g = 0; g < 8; g += 2) {
        search_affine(2, 32, n_max, x + 32 * g, w + 32 * g, with ? &weighted : n_max == 15 ? &plain4 : &plain5, found + g);
        for (int p = g; p < g + 2; p++) {
            scales[p] = found[p].scale;
            mins[p] = found[p].min;
            redo = m_or(redo, found[p].wild);
        }
    }
    redo = m_or(redo, with ? search_positive(8, 63, scales, sums, &d, sc) : k4_scales(scales, &d, sc));
    redo = m_or(redo, with ? search_positive(8, 63, mins, sums, &dmin, mn) : k4_scales(mins, &dmin, mn));
    redo = m_or(redo, m_or(v_not_finite(scales, 8), v_not_finite(mins, 8)));
    redo = m_or(redo, m_or(v_not_finite(&d, 1), v_not_finite(&dmin, 1)));
    vi d16 = v_to_f16(d), dmin16 = v_to_f16(dmin);
    head[0] = d16 | dmin16 << 16;
    k4_pack(sc, mn, head + 1);
    d = v_from_f16(d16);
    dmin = v_from_f16(dmin16);
    for (int g = 0; g < 8; g++) {
        vm wild = again_affine(32, n_max, x + 32 * g, found + g, d * v_to_float(sc[g]), dmin * v_to_float(mn[g]), codes + 32 * g);
        redo = m_or(redo, wild);
    }
    return redo;
}

LANE vm q4_k_batch(const batch *b) {
    vi head[4], codes[256];
    vm redo = encode_k4(15, b, head, codes);
    lanes_out(b->out, 0, head);
    put_nibbles(b, codes, 16);
    return redo;
}

bool ENCODER(q4_k)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return batches_encode(q4_k_batch, kq_encode_q4_k, 256, sizeof(kq_block_q4_k), src, rows, cols, importances, dst);
}

LANE vm q5_k_batch(const batch *b) {
    vi head[4], codes[256];
    vm redo = encode_k4(31, b, head, codes);
    lanes_out(b->out, 0, head);
    put_bits(b, codes, 4, 16);
    put_nibbles(b, codes, 48);
    return redo;
}

bool ENCODER(q5_k)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return batches_encode(q5_k_batch, kq_encode_q5_k, 256, sizeof(kq_block_q5_k), src, rows, cols, importances, dst);
}
