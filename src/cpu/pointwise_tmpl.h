/* SPDX-License-Identifier: MIT */
/* Kernels whose plain C the compiler turns into vectors well enough: the same lines, compiled for every feature tier. IEEE 754 and the
 * absence of contraction make all of them bit-equal. The includer defines VARIANT(name) as the kernel's full name. */
#include "base/numeric.h"
#include "cpu/kernels.h"

void VARIANT(soften)(float *s, size_t n, float *max, float *sum) {
    enum { LANES = KQ_EXACT_LANES };
    float lane[LANES], most = -INFINITY;
    for (size_t l = 0; l < LANES; l++) lane[l] = -INFINITY;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) lane[l] = s[i + l] > lane[l] ? s[i + l] : lane[l];
    }
    for (; i < n; i++) most = s[i] > most ? s[i] : most;
    for (size_t l = 0; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
    float base = most == -INFINITY ? 0.0f : most;
    for (i = 0; i < n; i++) s[i] = kq_expf(s[i] - base);
    for (size_t l = 0; l < LANES; l++) lane[l] = 0;
    for (i = 0; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) lane[l] += s[i + l];
    }
    for (size_t l = 0; i + l < n; l++) lane[l] += s[i + l];
    *max = most;
    *sum = kq_exact_sum(lane);
}

void VARIANT(silu)(const float *a, const float *b, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = kq_silu(a[i]) * b[i];
}

void VARIANT(gelu)(const float *a, const float *b, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = kq_gelu_tanh(a[i]) * b[i];
}
