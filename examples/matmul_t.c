/* SPDX-License-Identifier: MIT */
/* kq_matmul_t: the gradient of a product's activations. y = x w^T, so dx = dy w, from the same packed bytes. */
#include <kquant/kquant.h>

#include <stdio.h>

enum { M = 2, N = 3, K = 32 };

int main(void) {
    static float weights[N * K], dy[M * N] = {1, 0, 0, 0, 1, -1}, dx[M * K];
    static unsigned char packed[N * 34]; /* a block of q8_0: 32 weights in 34 bytes */
    for (int i = 0; i < N * K; i++) weights[i] = (float)(i / K + 1);

    kq_error err;
    kq_device *device = NULL;
    if (kq_device_open(&device, NULL, &err)) goto failed;
    if (kq_quantize(KQ_Q8_0, weights, N * K, N, K, packed, sizeof packed, NULL, &err)) goto failed;

    kq_weights w = {.codec = KQ_Q8_0, .data = packed, .bytes = sizeof packed, .rows = N, .cols = K};
    kq_activations in = {.type = KQ_F32, .data = dy, .bytes = sizeof dy, .rows = M, .cols = N};
    kq_results out = {.type = KQ_F32, .data = dx, .bytes = sizeof dx, .rows = M, .cols = K};
    if (kq_matmul_t(device, &in, &w, &out, &err)) goto failed;

    printf("%.2f %.2f\n", (double)dx[0], (double)dx[K]);
    kq_device_close(device);
    return 0;
failed:
    fprintf(stderr, "%s\n", err.text);
    kq_device_close(device);
    return 1;
}
