/* SPDX-License-Identifier: MIT */
/* Tiles of bf16 for AMX: a tile register is 16 weight rows of 32 weights as they lie in the panel, or 32 weights of a strip as they lie
 * there, or the sums of both: one instruction multiplies 16 x 16 x 32. Two registers of weights, two of strips and four of sums are
 * all eight. kq_cpu_features has asked the kernel for them. */
#include "cpu/kernels.h"

#include <immintrin.h>

enum { BLOCK_ROWS = 16, STRIP_STEP = KQ_TILE_STEP * KQ_LANES * 2 };

static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} shape = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* Sums 0 1 of strip 0, 2 3 of strip 1; weights 4 5, strips 6 7. */
static inline __attribute__((always_inline)) void block(const uint8_t *w, size_t w_pitch, const uint8_t *x, size_t x_pitch, size_t n, float *sums,
                                                        size_t sums_pitch, bool add, const uint8_t *next, size_t ahead, const bool BOTH_ROWS,
                                                        const bool BOTH_STRIPS) {
    const size_t below = BLOCK_ROWS * KQ_LANES;
    if (add) {
        _tile_loadd(0, sums, 64);
        if (BOTH_ROWS) _tile_loadd(1, sums + below, 64);
        if (BOTH_STRIPS) _tile_loadd(2, sums + sums_pitch, 64);
        if (BOTH_ROWS && BOTH_STRIPS) _tile_loadd(3, sums + sums_pitch + below, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t k = 0; k < n; k += KQ_TILE_STEP, w += 2 * KQ_TILE_STEP, x += STRIP_STEP) {
        for (size_t i = 0; i < ahead; i += 64, next += 64) _mm_prefetch((const char *)next, _MM_HINT_T1);
        _tile_loadd(4, w, w_pitch);
        _tile_loadd(6, x, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (BOTH_ROWS) {
            _tile_loadd(5, w + BLOCK_ROWS * w_pitch, w_pitch);
            _tile_dpbf16ps(1, 5, 6);
        }
        if (BOTH_STRIPS) {
            _tile_loadd(7, x + x_pitch, 64);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (BOTH_ROWS && BOTH_STRIPS) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    if (BOTH_ROWS) _tile_stored(1, sums + below, 64);
    if (BOTH_STRIPS) _tile_stored(2, sums + sums_pitch, 64);
    if (BOTH_ROWS && BOTH_STRIPS) _tile_stored(3, sums + sums_pitch + below, 64);
}

void kq_tile_bf16_amx(const void *w, size_t w_pitch, size_t n_rows, const void *x, size_t x_pitch, size_t n_strips, size_t n, float *sums,
                      size_t sums_pitch, bool add) {
    _tile_loadconfig(&shape);
    /* While two strips meet the panel, the next two come into L2: so many bytes with each step of a block. */
    size_t blocks = (n_rows + 2 * BLOCK_ROWS - 1) / (2 * BLOCK_ROWS), ahead = (2 * STRIP_STEP / KQ_MAX(blocks, 1) + 63) / 64 * 64;
    for (size_t s = 0; s < n_strips; s += 2) {
        for (size_t r = 0; r < n_rows; r += 2 * BLOCK_ROWS) {
            const uint8_t *row = (const uint8_t *)w + r * w_pitch, *strip = (const uint8_t *)x + s * x_pitch;
            float *out = sums + s * sums_pitch + r * KQ_LANES;
            const uint8_t *next = strip + 2 * x_pitch + r / (2 * BLOCK_ROWS) * (n / KQ_TILE_STEP) * ahead;
            bool both = n_rows - r > BLOCK_ROWS;
            if (n_strips - s > 1) {
                if (both) block(row, w_pitch, strip, x_pitch, n, out, sums_pitch, add, next, ahead, true, true);
                else block(row, w_pitch, strip, x_pitch, n, out, sums_pitch, add, next, ahead, false, true);
            } else {
                if (both) block(row, w_pitch, strip, x_pitch, n, out, sums_pitch, add, next, ahead, true, false);
                else block(row, w_pitch, strip, x_pitch, n, out, sums_pitch, add, next, ahead, false, false);
            }
        }
    }
    _tile_release();
}
