/* SPDX-License-Identifier: MIT */
/* kq_matmul_gather: two tokens, two of four experts each. Expert e multiplies by e + 1 and sums. */
#include <kquant/kquant.h>

#include <stdio.h>

enum { EXPERTS = 4, N = 1, K = 32, TOKENS = 2, USED = 2 };

int main(void) {
    static float weights[EXPERTS * N * K], x[TOKENS * K], y[TOKENS * USED * N];
    static unsigned char packed[EXPERTS * N * 34]; /* a block of q8_0: 32 weights in 34 bytes */
    static const int32_t experts[TOKENS * USED] = {3, 0, 2, 3};
    for (int i = 0; i < EXPERTS * N * K; i++) weights[i] = (float)(i / (N * K) + 1);
    for (int i = 0; i < TOKENS * K; i++) x[i] = i < K ? 1 : 2;

    kq_error err;
    kq_device *device = NULL;
    if (kq_device_open(&device, NULL, &err)) goto failed;
    if (kq_quantize(KQ_Q8_0, weights, EXPERTS * N * K, EXPERTS * N, K, packed, sizeof packed, NULL, &err)) goto failed;

    kq_weights w = {.codec = KQ_Q8_0, .data = packed, .bytes = sizeof packed, .rows = N, .cols = K, .matrices = EXPERTS};
    kq_activations in = {.type = KQ_F32, .data = x, .bytes = sizeof x, .rows = TOKENS, .cols = K};
    kq_results out = {.type = KQ_F32, .data = y, .bytes = sizeof y, .rows = TOKENS * USED, .cols = N};
    /* left is NULL: each token's row serves its two pairs, one after the other */
    if (kq_matmul_gather(device, &in, &w, NULL, experts, TOKENS * USED, &out, &err)) goto failed;

    for (int p = 0; p < TOKENS * USED; p++) printf("token %d, expert %d: %.1f\n", p / USED, experts[p], (double)y[p]);
    kq_device_close(device);
    return 0;
failed:
    fprintf(stderr, "%s\n", err.text);
    kq_device_close(device);
    return 1;
}
