/* SPDX-License-Identifier: MIT */
/* The definition in plain C of attention's two products (kernels.h): what the variants must equal bit for bit. Keys and values are
 * turned into floats sixteen at a time, once for up to ROWS rows. */
#include "cpu/kernels.h"

enum { LANES = KQ_EXACT_LANES, ROWS = 8 };

/* Sixteen elements of a cache row from d on: where they lie when they are floats, else in `room`. */
static inline const float *load(const void *row, size_t d, bool f16, float room[LANES]) {
    if (!f16) return (const float *)row + d;
    for (size_t l = 0; l < LANES; l++) room[l] = kq_f16_to_f32(((const uint16_t *)row)[d + l]);
    return room;
}
static inline float load_one(const void *row, size_t d, bool f16) {
    return f16 ? kq_f16_to_f32(((const uint16_t *)row)[d]) : ((const float *)row)[d];
}

static inline void add_products(float *restrict lanes, const float *restrict a, const float *restrict b) {
    for (size_t l = 0; l < LANES; l++) lanes[l] += a[l] * b[l];
}
static inline void add_multiple(float *restrict to, float a, const float *restrict b) {
    for (size_t l = 0; l < LANES; l++) to[l] += a * b[l];
}

static inline void score(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s,
                         size_t s_pitch, bool f16) {
    for (size_t i = 0; i < n; i++) {
        const void *row = (const uint8_t *)k + i * k_pitch;
        for (size_t first = 0; first < m; first += ROWS) {
            size_t end = KQ_MIN(first + ROWS, m), d = 0;
            float lanes[ROWS][LANES] = {{0}}, room[LANES];
            for (; d + LANES <= width; d += LANES) {
                const float *key = load(row, d, f16, room);
                for (size_t j = first; j < end; j++) add_products(lanes[j - first], q[j] + d, key);
            }
            for (size_t l = 0; d + l < width; l++) {
                for (size_t j = first; j < end; j++) lanes[j - first][l] += q[j][d + l] * load_one(row, d + l, f16);
            }
            for (size_t j = first; j < end; j++) s[j * s_pitch + i] = kq_exact_sum(lanes[j - first]) * scale;
        }
    }
}

static inline void blend(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc,
                         size_t acc_pitch, bool f16) {
    for (size_t i = 0; i < n; i++) {
        const void *row = (const uint8_t *)v + i * v_pitch;
        size_t d = 0;
        for (; d + LANES <= width; d += LANES) {
            float room[LANES];
            const float *value = load(row, d, f16, room);
            for (size_t j = 0; j < m; j++) add_multiple(acc + j * acc_pitch + d, e[j * e_pitch + i], value);
        }
        for (; d < width; d++) {
            for (size_t j = 0; j < m; j++) acc[j * acc_pitch + d] += e[j * e_pitch + i] * load_one(row, d, f16);
        }
    }
}

#define KERNEL(op) kq_##op##_generic
#include "cpu/attention_tmpl.h"
