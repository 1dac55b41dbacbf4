/* SPDX-License-Identifier: MIT */
/* stream: a piece is decoded into L1, and copied from there with stores that pass the caches, of whole lines. Such a store needs no reading of
 * the line before, which is half of the traffic. A piece is so small that its stores drain while the next one is decoded. Before including:
 *     WIDTH                  floats in a register
 *     LOAD(p), PASS(p, v)    a load from any address, and the store to an aligned one
 * and STREAM, the kernel's name. */
#include "cpu/kernels.h"

#include <immintrin.h>

static inline __attribute__((always_inline)) void pass(const float *from, size_t n, float *to) {
    size_t ahead = (64 - (uintptr_t)to % 64) % 64 / sizeof *to, i = KQ_MIN(ahead, n);
    memcpy(to, from, i * sizeof *to); /* to the first line that begins in here */
    for (; i + 16 <= n; i += 16) {
        for (size_t k = 0; k < 16; k += WIDTH) PASS(to + i + k, LOAD(from + i + k));
    }
    memcpy(to + i, from + i, (n - i) * sizeof *to);
}

void STREAM(kq_decode_fn *decode, const void *src, size_t n_blocks, size_t block_bytes, size_t block_weights, float *dst, bool end) {
    _Alignas(64) float piece[KQ_STREAM_PIECE];
    const uint8_t *from = src;
    for (size_t n; n_blocks; n_blocks -= n, from += n * block_bytes, dst += n * block_weights) {
        n = KQ_MIN(n_blocks, KQ_STREAM_PIECE / block_weights);
        decode(from, n, piece);
        pass(piece, n * block_weights, dst);
    }
    if (end) _mm_sfence();
}
