/* SPDX-License-Identifier: MIT */
/* A product straight from a file's blocks: matmul FILE TENSOR prints the first results for activations of 1. */
#include <kquant/kquant.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    kq_gguf *file;
    kq_device *device;
    kq_error err;
    if (argc != 3) return 2;
    if (kq_gguf_open(&file, argv[1], NULL, &err) || kq_device_open(&device, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", err.file, err.text);
        return 1;
    }
    const kq_gguf_tensor *t = kq_gguf_tensor_find(file, argv[2]);
    if (!t) return 1;
    float *x = malloc(t->dims[0] * sizeof *x), *y = malloc(t->dims[1] * sizeof *y);
    for (uint64_t k = 0; x && k < t->dims[0]; k++) x[k] = 1;

    kq_weights w = {.codec = t->codec, .data = t->data, .bytes = t->bytes, .rows = t->dims[1], .cols = t->dims[0]};
    kq_activations in = {.type = KQ_F32, .data = x, .bytes = t->dims[0] * sizeof *x, .rows = 1, .cols = t->dims[0]};
    kq_results out = {.type = KQ_F32, .data = y, .bytes = t->dims[1] * sizeof *y, .rows = 1, .cols = t->dims[1]};
    kq_status status = kq_matmul(device, &in, &w, NULL, &out, &err);

    if (status) fprintf(stderr, "%s\n", err.text);
    for (int i = 0; i < 4 && !status; i++) printf("%.4f\n", (double)y[i]);
    free(x);
    free(y);
    kq_device_close(device);
    kq_gguf_close(file);
    return status ? 1 : 0;
}
