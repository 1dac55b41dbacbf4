/* SPDX-License-Identifier: MIT */
/* Codecs of one scale and codes found without a search, a block in each lane: tq1_0 tq2_0 q1_0 q2_0 mxfp4 nvfp4. The references are in
 * ternary.c, bits.c and fp4.c. Importances mean nothing here. */
#include "codec/lanes/lanes.h"

LANE vf greatest(const vf *x, int n) {
    vf most = v_zero();
    for (int i = 0; i < n; i++) most = v_max(v_abs(x[i]), most);
    return most;
}

/* 1 / d, 0 for 0. */
LANE vf inverse_of(vf d) { return v_select(v_eq(d, v_zero()), v_zero(), v_set(1) / d); }
LANE vm infinite(vf x) { return m_not(v_lt(v_abs(x), v_set(0x1p127f))); }

/* ---- ternary ---------------------------------------------------------------------------------------------------------- */

/* 0, 1 or 2: |x * inverse| is at most 1, or a little more. */
LANE vi trit(vf x, vf inverse) {
    vf v = x * inverse;
    return v_int(1) + v_select_bit(v_ge(v, v_set(0.5f)), 1) - v_select_bit(v_le(v, v_set(-0.5f)), 1);
}

/* n trits, `step` weights apart, as a fraction of 3^5 in 256ths, rounded up: (256 v + 242) / 243 = v + (13 v + 242) / 243, whose
 * division is a multiplication, exact for numerators below 4946. */
LANE vi pack_trits(const vf *x, int n, int step, vf inverse) {
    vi v = v_int(0);
    for (int i = 0; i < 5; i++) {
        v = v * 3;
        if (i < n) v += trit(x[i * step], inverse);
    }
    return v + ((v * 13 + 242) * 4316 >> 20);
}

LANE vm tq1_0_batch(const batch *b) {
    vf x[256];
    vi bytes[56];
    lanes_in(b->x, 256, x);
    vf d = greatest(x, 256), inverse = inverse_of(d);
    for (int m = 0; m < 32; m++) bytes[m] = pack_trits(x + m, 5, 32, inverse);
    for (int m = 0; m < 16; m++) bytes[32 + m] = pack_trits(x + 160 + m, 5, 16, inverse);
    for (int j = 0; j < 4; j++) bytes[48 + j] = pack_trits(x + 240 + j, 4, 4, inverse);
    bytes[52] = v_to_f16(d);
    for (int i = 53; i < 56; i++) bytes[i] = v_int(0);
    for (int i = 0; i < 56; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            words[k] = v_int(0);
            for (int j = 0; j < 4 && i + 4 * k + j < 56; j++) words[k] |= bytes[i + 4 * k + j] << 8 * j;
        }
        if (i < 48) lanes_out(b->out, (size_t)i, words);
        else lanes_out_part(b->out, (size_t)i, words, 6);
    }
    return infinite(inverse);
}

bool ENCODER(tq1_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(tq1_0_batch, kq_encode_tq1_0, 256, sizeof(kq_block_tq1_0), src, rows, cols, NULL, dst);
}

/* Words of 2-bit codes. tq2_0 has four planes, as K does: `apart` is the distance of a byte's codes (32; 1 for q2_0). */
LANE vi pack_pairs(const vf *x, int apart, vf inverse) {
    vi word = v_int(0);
    for (int j = 0; j < 4; j++) {
        for (int p = 0; p < 4; p++) word |= trit(x[apart == 1 ? 4 * j + p : j + apart * p], inverse) << (8 * j + 2 * p);
    }
    return word;
}

LANE vm tq2_0_batch(const batch *b) {
    vf x[256];
    lanes_in(b->x, 256, x);
    vf d = greatest(x, 256), inverse = inverse_of(d);
    for (int i = 0; i < 64; i += 16) {
        vi words[4];
        for (int k = 0; k < 4; k++) words[k] = pack_pairs(x + 128 * (i / 32) + i % 32 + 4 * k, 32, inverse);
        lanes_out(b->out, (size_t)i, words);
    }
    lanes_out_half(b->out, 64, v_to_f16(d));
    return infinite(inverse);
}

bool ENCODER(tq2_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(tq2_0_batch, kq_encode_tq2_0, 256, sizeof(kq_block_tq2_0), src, rows, cols, NULL, dst);
}

/* ---- one and two bits -------------------------------------------------------------------------------------------------- */

LANE vm q1_0_batch(const batch *b) {
    vf x[128], sum = v_zero();
    vi words[4];
    lanes_in(b->x, 128, x);
    for (int k = 0; k < 4; k++) {
        words[k] = v_int(0);
        for (int i = 0; i < 32; i++) {
            sum += v_abs(x[32 * k + i]);
            words[k] |= v_select_bit(v_ge(x[32 * k + i], v_zero()), (int32_t)(UINT32_C(1) << i));
        }
    }
    lanes_out_half(b->out, 0, v_to_f16(sum / v_set(128)));
    lanes_out(b->out, 2, words);
    return m_none();
}

bool ENCODER(q1_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(q1_0_batch, kq_encode_q1_0, 128, sizeof(kq_block_q1_0), src, rows, cols, NULL, dst);
}

LANE vm q2_0_batch(const batch *b) {
    vf x[64];
    vi words[4];
    lanes_in(b->x, 64, x);
    vf d = greatest(x, 64), inverse = inverse_of(d);
    for (int k = 0; k < 4; k++) words[k] = pack_pairs(x + 16 * k, 1, inverse);
    lanes_out_half(b->out, 0, v_to_f16(d));
    lanes_out(b->out, 2, words);
    return infinite(inverse);
}

bool ENCODER(q2_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(q2_0_batch, kq_encode_q2_0, 64, sizeof(kq_block_q2_0), src, rows, cols, NULL, dst);
}

/* ---- 4-bit floats -------------------------------------------------------------------------------------------------------- */

/* The code whose level times d is nearest to x, the lower of two: the levels' midpoints that |x| is above, counted. The differences that
 * the reference compares are exact near a midpoint (its two levels are within a factor of two), and far beyond the last level their
 * order holds up to |x| = 2^20 d. */
LANE vi nearest_level(vf x, const vf middle[7]) {
    vf size = v_abs(x);
    vi code = v_int(0);
    for (int i = 0; i < 7; i++) code = v_count(v_lt(middle[i], size), code);
    vi negative = v_select_bit(v_lt(x, v_zero() - middle[0]), 8); /* there is no code for -0 */
    return code | negative;
}

static const float middles[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};

LANE vm mxfp4_batch(const batch *b) {
    vf x[32], middle[7];
    vi words[4];
    lanes_in(b->x, 32, x);
    vf most = greatest(x, 32);
    /* The exponent is that of the rounded logarithm, which differs from the number's own only just below a power of two. */
    vm zero = v_eq(most, v_zero()), near = v_lt(v_set(0x1.ffff80p0f), v_from_bits((v_bits(most) & 0x7fffff) | 0x3f800000));
    vm redo = m_or(m_and(v_lt(most, v_set(0x1p-120f)), m_not(zero)), near);
    vi e = v_select_int(zero, v_int(5), (v_bits(most) >> 23) - 2);
    vf d = v_from_bits((e - 1) << 23);
    e = v_select_int(zero, v_int(0), e);
    for (int i = 0; i < 7; i++) middle[i] = v_set(middles[i]) * d;
    for (int k = 0; k < 4; k++) {
        words[k] = v_int(0);
        for (int j = 0; j < 4; j++) {
            const vf *at = x + 4 * k + j;
            words[k] |= (nearest_level(at[0], middle) | nearest_level(at[16], middle) << 4) << 8 * j;
        }
    }
    int32_t each[KQ_LANES];
    memcpy(each, &e, sizeof each);
    for (size_t i = 0; i < KQ_LANES; i++) b->out[i][0] = (uint8_t)each[i];
    lanes_out(b->out, 1, words);
    return redo;
}

bool ENCODER(mxfp4)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(mxfp4_batch, kq_encode_mxfp4, 32, sizeof(kq_block_mxfp4), src, rows, cols, NULL, dst);
}

/* UE4M3 of x >= 0, not NaN: exponent and mantissa are the number's own bits, rounded at bit 19, ties up. */
LANE vi to_ue4m3(vf x) {
    vi bits = v_bits(x), normal = (bits >> 20) + (bits >> 19 & 1) - (127 - 7) * 8;
    vi tiny = v_truncate(v_min(x * v_set(512) + v_set(0.5f), v_set(7)));
    vi code = v_select_int(v_lt(x, v_set(0x1p-6f)), tiny, normal);
    return v_select_int(v_ge(x, v_set(248)), v_int(0x7e), code);
}

LANE vf ue4m3_half(vi code) {
    vf normal = v_from_bits((code << 20) + (119 << 23)), tiny = v_to_float(code) * v_set(1.0f / 1024);
    return v_select(v_lt(v_to_float(code), v_set(8)), tiny, normal);
}

LANE vm nvfp4_batch(const batch *b) {
    vf x[64];
    vi words[8], scales = v_int(0);
    vm redo = m_none();
    lanes_in(b->x, 64, x);
    for (int g = 0; g < 4; g++) {
        vf most = greatest(x + 16 * g, 16), middle[7];
        vi scale = to_ue4m3(most / v_set(6));
        vf d = ue4m3_half(scale);
        scales |= scale << 8 * g;
        vm none = v_eq(d, v_zero()); /* all levels are 0: code 0 is the first of equals */
        redo = m_or(redo, m_and(m_not(none), v_gt(most, d * v_set(0x1p20f))));
        for (int i = 0; i < 7; i++) middle[i] = v_select(none, v_set(0x1p127f), v_set(middles[i]) * d);
        redo = m_or(redo, m_and(none, v_gt(most, v_set(0x1p126f))));
        for (int k = 0; k < 2; k++) {
            vi word = v_int(0);
            for (int j = 0; j < 4; j++) {
                const vf *at = x + 16 * g + 4 * k + j;
                word |= (nearest_level(at[0], middle) | nearest_level(at[8], middle) << 4) << 8 * j;
            }
            words[2 * g + k] = word;
        }
    }
    vi head[4] = {scales, words[0], words[1], words[2]}, tail[4] = {words[7], v_int(0), v_int(0), v_int(0)};
    lanes_out(b->out, 0, head);
    lanes_out(b->out, 16, words + 3);
    lanes_out_half(b->out, 32, tail[0]);
    lanes_out_half(b->out, 34, tail[0] >> 16);
    return redo;
}

bool ENCODER(nvfp4)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(nvfp4_batch, kq_encode_nvfp4, 64, sizeof(kq_block_nvfp4), src, rows, cols, NULL, dst);
}
