/* SPDX-License-Identifier: MIT */
/* For tests of ops.h: operands with gaps, guards and known values, and devices of both modes with and without threads. Include it behind cmocka.h. */
#ifndef KQ_TESTS_OPERANDS_H
#define KQ_TESTS_OPERANDS_H

#include "random.h"

#include "base/base.h"
#include "codec/codec.h"

#include <kquant/ops.h>

#include <stdlib.h>

enum { GUARD = 0x5a };

static inline void *take(size_t bytes) {
    void *p = malloc(bytes + 64);
    assert_non_null(p);
    memset(p, GUARD, bytes + 64);
    return p;
}

/* Weights [matrices, rows, cols] that decode to finite numbers, with gaps, at an odd address, and their values. */
typedef struct packed {
    kq_weights w;
    uint8_t *memory;
    float *values;
} packed;

static inline packed pack(uint32_t codec, uint64_t matrices, uint64_t rows, uint64_t cols, uint64_t gap) {
    packed p;
    uint64_t row, n = matrices * rows;
    assert_int_equal(kq_row_bytes(codec, cols, &row, NULL), KQ_OK);
    p.w = (kq_weights){codec, NULL, 0, rows, cols, row + gap, matrices, rows * (row + gap) + gap};
    p.w.bytes = (size_t)(matrices * p.w.matrix_bytes);
    p.memory = take(p.w.bytes + 1);
    p.w.data = p.memory + 1;
    p.values = take((size_t)(n * cols) * sizeof(float));
    for (uint64_t i = 0; i < n; i++) {
        float *v = p.values + i * cols;
        float ones[1024];
        for (uint64_t k = 0; k < cols; k++) v[k] = uniform(), ones[k] = 1;
        kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
        o.importances = ones;
        o.importance_floats = cols;
        uint8_t *to = p.memory + 1 + i / rows * p.w.matrix_bytes + i % rows * p.w.row_bytes;
        assert_int_equal(kq_quantize(codec, v, cols, 1, cols, to, row, &o, NULL), KQ_OK);
        kq_codec_decoder(codec)(to, cols / kq_codec_describe(codec)->block_weights, v); /* the reference: kernels are compared with it */
        float *again = take(cols * sizeof *again);
        assert_int_equal(kq_dequantize(codec, to, row, cols, again, cols, NULL), KQ_OK);
        assert_memory_equal(again, v, cols * sizeof *again);
        free(again);
    }
    return p;
}
static inline void unpack(packed *p) {
    free(p->memory);
    free(p->values);
}

static inline uint16_t to_half(uint32_t type, float v) { return type == KQ_F16 ? kq_f32_to_f16(v) : kq_f32_to_bf16(v); }
static inline float from_half(uint32_t type, uint16_t v) { return type == KQ_F16 ? kq_f16_to_f32(v) : kq_bf16_to_f32(v); }
static inline float get(uint32_t type, const void *data, uint64_t i) {
    float f;
    uint16_t h;
    if (type == KQ_F32) return memcpy(&f, (const char *)data + 4 * i, 4), f;
    return memcpy(&h, (const char *)data + 2 * i, 2), from_half(type, h);
}

/* Random activations; strides leave gaps. */
static inline kq_activations make_x(uint32_t type, uint64_t batch, uint64_t rows, uint64_t cols, uint64_t gap) {
    uint64_t stride = cols + gap, pitch = rows * stride + gap, n = batch * pitch, size = type == KQ_F32 ? 4 : 2;
    uint8_t *data = take((size_t)(n * size));
    for (uint64_t i = 0; i < n; i++) {
        float v = uniform();
        uint16_t h = to_half(type, v);
        memcpy(data + i * size, type == KQ_F32 ? (void *)&v : (void *)&h, size);
    }
    return (kq_activations){type, data, (size_t)(n * size), rows, cols, gap ? stride : 0, batch, gap ? pitch : 0};
}
static inline kq_results make_y(uint32_t type, uint64_t batch, uint64_t rows, uint64_t cols, uint64_t gap) {
    uint64_t stride = cols + gap, pitch = rows * stride + gap, n = batch * pitch, size = type == KQ_F32 ? 4 : 2;
    return (kq_results){type, take((size_t)(n * size)), (size_t)(n * size), rows, cols, gap ? stride : 0, batch, gap ? pitch : 0};
}
static inline uint64_t x_at(const kq_activations *x, uint64_t b, uint64_t m, uint64_t k) {
    uint64_t stride = x->row_stride ? x->row_stride : x->cols;
    return b * (x->batch_stride ? x->batch_stride : x->rows * stride) + m * stride + k;
}
static inline uint64_t y_at(const kq_results *y, uint64_t b, uint64_t m, uint64_t n) {
    uint64_t stride = y->row_stride ? y->row_stride : y->cols;
    return b * (y->batch_stride ? y->batch_stride : y->rows * stride) + m * stride + n;
}

/* What lies between results is as it was. */
static inline void gaps_untouched(const kq_results *y) {
    uint64_t size = y->type == KQ_F32 ? 4 : 2, n = y->bytes / size;
    uint8_t *seen = calloc(n + 1, 1);
    for (uint64_t b = 0; b < (y->batch ? y->batch : 1); b++)
        for (uint64_t m = 0; m < y->rows; m++)
            for (uint64_t i = 0; i < y->cols; i++) seen[y_at(y, b, m, i)] = 1;
    for (uint64_t i = 0; i < n * size + 64; i++) {
        if ((i >= n * size || !seen[i / size]) && ((uint8_t *)y->data)[i] != GUARD) fail_msg("byte %llu beside the results changed", (unsigned long long)i);
    }
    free(seen);
}

/* Nothing of it was written. */
static inline void is_unwritten(const kq_results *y) {
    for (size_t i = 0; i < y->bytes + 64; i++) {
        if (((uint8_t *)y->data)[i] != GUARD) fail_msg("byte %zu of results was written", i);
    }
}

typedef struct devices {
    kq_device *device[4]; /* exact, fast, exact with threads, fast with threads */
    kq_pool *pool;
} devices;
static inline void open_devices(devices *d) {
    assert_int_equal(kq_pool_open(&d->pool, 3, NULL, NULL), KQ_OK);
    for (int i = 0; i < 4; i++) {
        kq_device_options o = KQ_OPTIONS_INIT(kq_device_options);
        o.mode = i % 2 ? KQ_FAST : KQ_EXACT;
        o.pool = i / 2 ? d->pool : NULL;
        assert_int_equal(kq_device_open(&d->device[i], &o, NULL), KQ_OK);
    }
}
static inline void close_devices(devices *d) {
    for (int i = 0; i < 4; i++) kq_device_close(d->device[i]);
    kq_pool_close(d->pool);
}

static const uint32_t types[] = {KQ_F32, KQ_F16, KQ_BF16};

#endif
