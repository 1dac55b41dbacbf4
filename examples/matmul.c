/* SPDX-License-Identifier: MIT */
/* A product straight from a file's blocks: matmul FILE TENSOR prints the first results for activations of 1. */
#include <kquant/kquant.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    kq_gguf *file = NULL;
    kq_device *device = NULL;
    kq_error err = {.status = KQ_OK};
    float *x = NULL, *y = NULL;
    int result = 1;
    if (argc != 3) return fprintf(stderr, "usage: %s FILE TENSOR\n", argv[0]), 2;
    if (kq_gguf_open(&file, argv[1], NULL, &err) || kq_device_open(&device, NULL, &err)) goto done;
    const kq_gguf_tensor *t = kq_gguf_tensor_find(file, argv[2]);
    if (!t) {
        fprintf(stderr, "there is no tensor %s\n", argv[2]);
        goto done;
    }
    size_t rows = t->dims[1], cols = t->dims[0]; /* a vector has one row; of experts this is the first matrix */
    if (!(x = malloc(cols * sizeof *x)) || !(y = malloc(rows * sizeof *y))) goto done;
    for (size_t k = 0; k < cols; k++) x[k] = 1;

    kq_weights w = {.codec = t->codec, .data = t->data, .bytes = t->bytes, .rows = rows, .cols = cols};
    kq_activations in = {.type = KQ_F32, .data = x, .bytes = cols * sizeof *x, .rows = 1, .cols = cols};
    kq_results out = {.type = KQ_F32, .data = y, .bytes = rows * sizeof *y, .rows = 1, .cols = rows};
    if (kq_matmul(device, &in, &w, NULL, &out, &err)) goto done;
    for (size_t i = 0; i < 4 && i < rows; i++) printf("%.4f\n", (double)y[i]);
    result = 0;

done:
    if (err.status) fprintf(stderr, "%s%s%s\n", err.file, err.file[0] ? ": " : "", err.text);
    free(x);
    free(y);
    kq_device_close(device);
    kq_gguf_close(file);
    return result;
}
