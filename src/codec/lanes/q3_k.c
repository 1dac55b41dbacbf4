/* SPDX-License-Identifier: MIT */
/* q3_k with a super-block in each lane: the reference is in k_encode.c. */
#include "codec/lanes/k_lanes.h"

/* kq_refine_signed with n_max 4 for `pairs` groups of 16 at once: the codes [pairs][16], as floats -4 .. 3 (0 in dead lanes too).
 *
 * Each element waits for the one before, and its quotient for a division, so groups run side by side, and the quotient x b / a is first
 * taken with an approximate inverse of a: where it is not too near a half, or beyond 8, which the cut makes equal, both have the
 * same nearest integer. Else the division is made. */
LANE vm refine_signed(int pairs, const vf *x, signed_fit *out, vf *l) {
    enum { MOST = 4 };
    const vf zero = v_zero(), near = v_set(0.5f - 9 * ABOUT);
    vf wxl[MOST], wll[MOST], reach = zero;
    vm active[MOST], any = m_none(), wild = m_none();
    for (int p = 0; p < pairs; p++) {
        signed_fit *f = out + p;
        f->most = v_greatest_signed(x + 16 * p, 16);
        f->dead = v_lt(v_abs(f->most), v_set(1e-15f));
        /* nothing below may leave the range of the approximate inverse */
        vm range = m_and(v_lt(v_abs(f->most), v_set(0x1p30f)), v_gt(v_abs(f->most), v_set(0x1p-30f)));
        wild = m_or(wild, m_not(m_or(f->dead, range)));
        active[p] = m_and(range, m_not(f->dead));
        any = m_or(any, active[p]);
        wxl[p] = wll[p] = zero;
        vf inverse = v_set(-4) / f->most;
        for (int i = 16 * p; i < 16 * p + 16; i++) {
            vf w = x[i] * x[i];
            l[i] = v_nearest(inverse * x[i], -4, 3);
            wxl[p] += w * x[i] * l[i];
            wll[p] += w * l[i] * l[i];
        }
    }
    for (int sweep = 0; sweep < 5 && m_any(any); sweep++) {
        vm changed[MOST];
        for (int p = 0; p < pairs; p++) changed[p] = m_none();
        for (int i = 0; i < 16; i++) {
            vf a[MOST], b[MOST], code[MOST];
            vm may[MOST], some = m_none(), doubt = m_none();
            for (int p = 0; p < pairs; p++) {
                vf xi = x[16 * p + i], w = xi * xi, li = l[16 * p + i];
                a[p] = wxl[p] - w * xi * li;
                b[p] = wll[p] - w * li * li;
                may[p] = m_and(active[p], v_gt(a[p], zero));
                vf q = xi * b[p] * v_about_inverse(a[p]), rounded = q + v_set(MAGIC);
                code[p] = v_min(v_max(rounded, v_set(MAGIC - 4)), v_set(MAGIC + 3)) - v_set(MAGIC);
                reach = v_select(may[p], v_max(v_abs(q), reach), reach);
                doubt = m_or(doubt, m_and(may[p], m_not(v_lt(v_abs(q - (rounded - v_set(MAGIC))), near))));
            }
            if (m_any(doubt)) {
                for (int p = 0; p < pairs; p++) code[p] = v_nearest(x[16 * p + i] * b[p] / a[p], -4, 3);
            }
            for (int p = 0; p < pairs; p++) {
                may[p] = m_and(may[p], m_not(v_eq(code[p], l[16 * p + i])));
                some = m_or(some, may[p]);
            }
            if (!m_any(some)) continue;
            for (int p = 0; p < pairs; p++) {
                vf xi = x[16 * p + i], w = xi * xi;
                a[p] += w * xi * code[p];
                b[p] += w * code[p] * code[p];
                vm better = m_and(m_and(may[p], v_gt(b[p], zero)), v_gt(a[p] * a[p] * wll[p], wxl[p] * wxl[p] * b[p]));
                l[16 * p + i] = v_select(better, code[p], l[16 * p + i]);
                wxl[p] = v_select(better, a[p], wxl[p]);
                wll[p] = v_select(better, b[p], wll[p]);
                changed[p] = m_or(changed[p], better);
            }
        }
        any = m_none();
        for (int p = 0; p < pairs; p++) {
            active[p] = changed[p];
            any = m_or(any, changed[p]);
        }
    }
    for (int p = 0; p < pairs; p++) {
        vm fits = m_and(m_not(out[p].dead), v_gt(wll[p], zero));
        out[p].scale = v_select(fits, wxl[p] / wll[p], zero);
    }
    return m_or(wild, m_not(v_lt(reach, v_set(0x1p21f))));
}

/* Signed scales of 6 bits so that the one of greatest magnitude becomes 0, without importances. */
LANE vm q3_scales(const vf scales[16], vf *d, vi codes[16]) {
    vf most = v_greatest_signed(scales, 16);
    vm none = v_eq(most, v_zero());
    vf inverse = v_set(-32) / v_select(none, v_set(1), most);
    for (int g = 0; g < 16; g++) {
        codes[g] = v_select_int(none, v_int(0), v_code(v_nearest_raw(inverse * scales[g], -32, 31)) + v_int(32));
    }
    *d = v_select(none, v_zero(), v_set(1) / inverse);
    return m_not(v_lt(v_abs(inverse), v_set(0x1p127f)));
}

LANE vm encode_q3(const batch *b) {
    vf x[256], w[256], sums[16], scales[16], d;
    vi sc[16], codes[256], words[4];
    signed_fit found[16], scales_found;
    vm redo = m_none();
    bool with = b->importances[0] != NULL;
    lanes_in(b->x, 256, x);
    if (with) {
        weigh_groups(b, x, 2, 16, w, sums);
        for (int g = 0; g < 16; g += 2) search_signed(2, 16, 4, x + 16 * g, w + 16 * g, found + g);
        for (int g = 0; g < 16; g++) scales[g] = found[g].scale;
        search_signed(1, 16, 32, scales, sums, &scales_found);
        signed_codes(16, 32, scales, &scales_found, sc);
        d = scales_found.scale;
    } else { /* w holds codes */
        for (int g = 0; g < 16; g += 4) redo = m_or(redo, refine_signed(4, x + 16 * g, found + g, w + 16 * g));
        for (int g = 0; g < 16; g++) scales[g] = found[g].scale;
        redo = m_or(redo, q3_scales(scales, &d, sc));
    }
    redo = m_or(redo, m_or(v_not_finite(scales, 16), v_not_finite(&d, 1)));
    vi d16 = v_to_f16(d);
    d = v_from_f16(d16);
    for (int g = 0; g < 16; g++) {
        vf scale = d * v_to_float(sc[g] - v_int(32));
        if (m_any(v_eq(scale, v_zero()))) {
            if (with) signed_codes(16, 4, x + 16 * g, found + g, codes + 16 * g);
            else for (int i = 16 * g; i < 16 * g + 16; i++) codes[i] = v_select_int(found[g].dead, v_int(0), v_truncate(w[i]) + v_int(4));
        }
        redo = m_or(redo, again_signed(16, 4, x + 16 * g, found[g].most, scale, codes + 16 * g));
    }
    put_bits(b, codes, 2, 0);
    put_planes(b, codes, 0, 32);
    for (int k = 0; k < 3; k++) words[k] = v_int(0);
    for (int j = 0; j < 4; j++) {
        words[0] |= ((sc[j] & 15) | (sc[j + 8] & 15) << 4) << 8 * j;
        words[1] |= ((sc[j + 4] & 15) | (sc[j + 12] & 15) << 4) << 8 * j;
        words[2] |= (sc[j] >> 4 | sc[j + 4] >> 4 << 2 | sc[j + 8] >> 4 << 4 | sc[j + 12] >> 4 << 6) << 8 * j;
    }
    words[3] = d16;
    lanes_out_part(b->out, 96, words, 14);
    return redo;
}

bool ENCODER(q3_k)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return batches_encode(encode_q3, kq_encode_q3_k, 256, sizeof(kq_block_q3_k), src, rows, cols, importances, dst);
}
