/* SPDX-License-Identifier: MIT */
/* q4_0 q4_1 q5_0 q5_1 q8_0 with a block in each lane: the reference is in legacy.c of the folder above. */
#include "codec/lanes/search_lanes.h"

/* Codes of a block, how they are stored, and the head before them. */
typedef struct fit32 {
    vf d, m;
    vi codes[32];
    vm redo;
} fit32;

LANE vm not_finite(vf x) { return m_not(v_lt(v_abs(x), v_set(0x1p127f))); }

/* Without importances: a scale that makes the element of greatest magnitude code 0. */
LANE void direct_signed(int n_max, const vf *x, fit32 *f) {
    f->d = v_greatest_signed(x, 32) / v_set((float)-n_max);
    vf inverse = v_select(v_eq(f->d, v_zero()), v_zero(), v_set(1) / f->d);
    for (int i = 0; i < 32; i++) { /* between 0.49 and 2 n_max + 0.51 */
        f->codes[i] = v_truncate(v_min(x[i] * inverse + v_set((float)n_max + 0.5f), v_set((float)(2 * n_max - 1))));
    }
    f->redo = not_finite(inverse);
}

LANE void direct_affine(int n_max, const vf *x, fit32 *f) {
    vf low = x[0], high = x[0];
    for (int i = 1; i < 32; i++) {
        low = v_min(x[i], low);
        high = v_max(x[i], high);
    }
    f->d = (high - low) / v_set((float)n_max);
    f->m = low;
    vf inverse = v_select(v_eq(f->d, v_zero()), v_zero(), v_set(1) / f->d);
    for (int i = 0; i < 32; i++) f->codes[i] = v_truncate((x[i] - low) * inverse + v_set(0.5f));
    f->redo = m_or(not_finite(inverse), not_finite(f->d));
}

LANE void fit_block(uint32_t codec, const batch *b, vf sigma2, fit32 *f) {
    static const kq_affine_trials trials = {.first = -0.9f, .step = 0.05f, .last = 36};
    const int n_max = codec == KQ_Q4_0 ? 8 : codec == KQ_Q4_1 ? 15 : codec == KQ_Q5_0 ? 16 : 31;
    const bool has_min = codec == KQ_Q4_1 || codec == KQ_Q5_1;
    vf x[32], w[32];
    lanes_in(b->x, 32, x);
    if (!b->importances[0]) {
        if (has_min) direct_affine(n_max, x, f);
        else direct_signed(n_max, x, f);
        return;
    }
    lanes_in(b->importances, 32, w);
    v_weigh(w, sigma2, x, 32, w);
    if (has_min) {
        affine found;
        search_affine(1, 32, n_max, x, w, &trials, &found);
        f->d = found.scale;
        f->m = v_neg(found.min);
        for (int i = 0; i < 32; i++) {
            vi code = v_code(v_nearest_raw(found.inverse * (x[i] - found.base), 0, n_max));
            f->codes[i] = v_select_int(found.dead, v_int(0), code);
        }
        f->redo = m_or(found.wild, m_or(not_finite(f->d), not_finite(f->m)));
    } else {
        signed_fit found;
        search_signed(1, 32, n_max, x, w, &found);
        f->d = found.scale;
        signed_codes(32, n_max, x, &found, f->codes);
        f->redo = not_finite(f->d);
    }
}

LANE void put_block(uint32_t codec, const batch *b, const fit32 *f) {
    const bool has_min = codec == KQ_Q4_1 || codec == KQ_Q5_1, five = codec == KQ_Q5_0 || codec == KQ_Q5_1;
    size_t at = 2;
    lanes_out_half(b->out, 0, v_to_f16(f->d));
    if (has_min) {
        lanes_out_half(b->out, at, v_to_f16(f->m));
        at += 2;
    }
    if (five) {
        vi high = v_int(0);
        for (int i = 0; i < 32; i++) high |= (f->codes[i] >> 4 & 1) << i;
        lanes_out_half(b->out, at, high);
        lanes_out_half(b->out, at + 2, high >> 16);
        at += 4;
    }
    vi words[4];
    for (int k = 0; k < 4; k++) {
        const vi *c = f->codes + 4 * k;
        words[k] = v_int(0);
        for (int j = 0; j < 4; j++) words[k] |= (five ? (c[j] & 15) | (c[j + 16] & 15) << 4 : c[j] | c[j + 16] << 4) << 8 * j;
    }
    lanes_out(b->out, at, words);
}

/* Rows of one matrix. With importances KQ_LANES rows at a time, because the mean square is the row's: a row in each lane. */
LANE bool encode(uint32_t codec, size_t block_bytes, const float *src, size_t rows, size_t cols, const float *importances, uint8_t *dst) {
    uint8_t beside[32];
    const size_t step = importances ? KQ_LANES : rows, row_blocks = cols / 32;
    for (size_t row = 0; row < rows; row += step, src += step * cols, dst += step * row_blocks * block_bytes) {
        size_t n_rows = KQ_MIN(step, rows - row), n_blocks = n_rows * row_blocks;
        float sigma2[KQ_LANES] = {0};
        if (importances) {
            const float *start[KQ_LANES];
            vf sum = v_zero(), x[32];
            for (size_t i = 0; i < KQ_LANES; i++) start[i] = src + KQ_MIN(i, n_rows - 1) * cols;
            for (size_t at = 0; at < cols; at += 32) {
                lanes_in(start, 32, x);
                for (int i = 0; i < 32; i++) sum += x[i] * x[i];
                for (size_t i = 0; i < KQ_LANES; i++) start[i] += 32;
            }
            v_store(sigma2, sum / v_set((float)cols));
        }
        for (size_t first = 0; first < n_blocks; first += KQ_LANES) {
            batch b;
            fit32 f;
            float each[KQ_LANES];
            batch_fill(&b, src, importances, dst, first, n_blocks, row_blocks, 32, block_bytes, beside);
            for (size_t i = 0; i < KQ_LANES && importances; i++) each[i] = sigma2[KQ_MIN((first + i) / row_blocks, n_rows - 1)];
            fit_block(codec, &b, importances ? v_load(each) : v_zero(), &f);
            put_block(codec, &b, &f);
            for (unsigned left = m_bits(f.redo), i = 0; left; left >>= 1, i++) {
                if ((left & 1) && i < b.n) {
                    kq_encode_block_32(codec, b.x[i], b.importances[i], importances ? each[i] : 0, b.out[i]);
                }
            }
        }
    }
    return true;
}

bool ENCODER(q4_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return encode(KQ_Q4_0, sizeof(kq_block_q4_0), src, rows, cols, importances, dst);
}

bool ENCODER(q4_1)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return encode(KQ_Q4_1, sizeof(kq_block_q4_1), src, rows, cols, importances, dst);
}

bool ENCODER(q5_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return encode(KQ_Q5_0, sizeof(kq_block_q5_0), src, rows, cols, importances, dst);
}

bool ENCODER(q5_1)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    return encode(KQ_Q5_1, sizeof(kq_block_q5_1), src, rows, cols, importances, dst);
}

LANE vm q8_0_batch(const batch *b) {
    vf x[32], most = v_zero();
    lanes_in(b->x, 32, x);
    for (int i = 0; i < 32; i++) most = v_max(v_abs(x[i]), most);
    vf d = most / v_set(127), inverse = v_select(v_eq(d, v_zero()), v_zero(), v_set(1) / d);
    lanes_out_half(b->out, 0, v_to_f16(d));
    for (int half = 0; half < 2; half++) {
        vi words[4];
        for (int k = 0; k < 4; k++) {
            words[k] = v_int(0);
            for (int j = 0; j < 4; j++) words[k] |= (v_round_away(x[16 * half + 4 * k + j] * inverse) & 255) << 8 * j;
        }
        lanes_out(b->out, 2 + 16 * (size_t)half, words);
    }
    return not_finite(inverse);
}

bool ENCODER(q8_0)(const float *src, size_t rows, size_t cols, const float *importances, void *dst) {
    (void)importances;
    return batches_encode(q8_0_batch, kq_encode_q8_0, 32, sizeof(kq_block_q8_0), src, rows, cols, NULL, dst);
}
