/* SPDX-License-Identifier: MIT */
/* The definition in plain C of attention's two products (kernels.h): what the variants must equal bit for bit. Keys and values are
 * turned into floats sixteen at a time, once for up to QUERIES rows. */
#include "cpu/kernels.h"

enum { LANES = KQ_EXACT_LANES, QUERIES = 8 };

/* Elements [d, d + n) of a cache row, n <= 16; zeros behind them. */
static inline void load(const void *row, size_t d, size_t n, bool f16, float out[LANES]) {
    if (f16) {
        const uint16_t *h = (const uint16_t *)row + d;
        for (size_t l = 0; l < n; l++) out[l] = kq_f16_to_f32(h[l]);
    } else {
        memcpy(out, (const float *)row + d, n * sizeof *out);
    }
    for (size_t l = n; l < LANES; l++) out[l] = 0;
}

static inline void score(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                         size_t s_pitch, bool f16) {
    float lanes[QUERIES][LANES], key[LANES];
    for (size_t i = 0; i < n; i++) {
        const void *row = (const uint8_t *)k + i * k_pitch;
        for (size_t j0 = 0; j0 < m; j0 += QUERIES) {
            size_t some = KQ_MIN(m - j0, QUERIES);
            memset(lanes, 0, sizeof lanes);
            for (size_t d = 0; d < width; d += LANES) {
                size_t have = KQ_MIN(width - d, LANES);
                load(row, d, have, f16, key);
                for (size_t j = 0; j < some; j++) {
                    const float *query = q[j0 + j] + d;
                    if (have == LANES) {
                        for (size_t l = 0; l < LANES; l++) lanes[j][l] += query[l] * key[l];
                    } else {
                        for (size_t l = 0; l < have; l++) lanes[j][l] += query[l] * key[l];
                    }
                }
            }
            for (size_t j = 0; j < some; j++) s[(j0 + j) * s_pitch + i] = kq_exact_sum(lanes[j]) * scale;
        }
    }
}

static inline void blend(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc,
                         size_t acc_pitch, bool f16) {
    float value[LANES];
    for (size_t i = 0; i < n; i++) {
        const void *row = (const uint8_t *)v + i * v_pitch;
        for (size_t d = 0; d < width; d += LANES) {
            size_t have = KQ_MIN(width - d, LANES);
            load(row, d, have, f16, value);
            for (size_t j = 0; j < m; j++) {
                float weight = e[j * e_pitch + i], *to = acc + j * acc_pitch + d;
                if (have == LANES) {
                    for (size_t l = 0; l < LANES; l++) to[l] += weight * value[l];
                } else {
                    for (size_t l = 0; l < have; l++) to[l] += weight * value[l];
                }
            }
        }
    }
}

void kq_score_f32_generic(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                          size_t s_pitch) {
    score(q, m, k, k_pitch, n, width, scale, s, s_pitch, false);
}
void kq_score_f16_generic(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                          size_t s_pitch) {
    score(q, m, k, k_pitch, n, width, scale, s, s_pitch, true);
}
void kq_blend_f32_generic(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc,
                          size_t acc_pitch) {
    blend(e, e_pitch, m, v, v_pitch, n, width, acc, acc_pitch, false);
}
void kq_blend_f16_generic(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc,
                          size_t acc_pitch) {
    blend(e, e_pitch, m, v, v_pitch, n, width, acc, acc_pitch, true);
}
