/* SPDX-License-Identifier: MIT */
/* The checks of attention's kernels and of the activations: all of them EXACTLY their definition, which is written here once more from
 * the words in kernels.h. */
#include "check.h"

#include "base/numeric.h"

#include <stdlib.h>

enum { BUFFER = 2 << 20, MOST_QUERIES = 19 };

static buffer cache, floats, weights, outputs;
static float *expected;

static void open_buffers(void) {
    if (expected) return;
    buffer_open(&cache, BUFFER);
    buffer_open(&floats, BUFFER);
    buffer_open(&weights, BUFFER);
    buffer_open(&outputs, BUFFER);
    expected = malloc(BUFFER);
    if (!expected) exit(1);
}

static void compare(const float *got, const float *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (kq_f32_to_bits(got[i]) == kq_f32_to_bits(want[i]) || (got[i] != got[i] && want[i] != want[i])) continue;
        case_failed("value %zu is %a, must be %a", i, (double)got[i], (double)want[i]);
        return;
    }
}

static void finish(void) {
    if (!buffer_whole(&cache) || !buffer_whole(&floats) || !buffer_whole(&weights)) case_failed("wrote round an input");
    if (!buffer_whole(&outputs)) case_failed("wrote outside the result");
    n_cases++;
}

/* n positions of `width` elements that are `pitch` elements apart, in the kernel's codec; what lies between is canaries' business. */
static uint8_t *make_cache(uint32_t codec, size_t n, size_t width, size_t pitch, floats_kind kind, place where) {
    size_t element = codec == KQ_F16 ? 2 : 4, bytes = n ? ((n - 1) * pitch + width) * element : 0;
    uint8_t *data = buffer_place(&cache, bytes, where, element);
    make_floats(kind, expected, bytes / element); /* room to make them in */
    if (codec == KQ_F32) {
        memcpy(data, expected, bytes);
    } else {
        for (size_t i = 0; i < bytes / 2; i++) {
            uint16_t h = kind == FLOATS_SPECIAL ? (uint16_t)random_u32() : kq_f32_to_f16(expected[i]);
            memcpy(data + 2 * i, &h, 2);
        }
    }
    buffer_protect(&cache);
    return data;
}

static float element(const uint8_t *data, uint32_t codec, size_t i) {
    return codec == KQ_F16 ? kq_f16_to_f32(kq_load_u16(data + 2 * i)) : kq_load_f32(data + 4 * i);
}

typedef struct size {
    size_t m, n, width, gap; /* gap: elements between the end of a row and the next */
} size;

static void score_case(const kq_kernel *k, size s, floats_kind kind, place where) {
    case_name("%s: %zu queries, %zu keys of %zu, %s, at %s", k->name, s.m, s.n, s.width, floats_names[kind], place_names[where]);
    size_t pitch = s.width + s.gap, s_pitch = s.n + s.gap;
    const uint8_t *keys = make_cache(k->codec, s.n, s.width, pitch, kind, where);
    float *q = buffer_place(&floats, s.m * s.width * sizeof(float), where, sizeof(float));
    buffer_place(&weights, 0, AT_START, 1);
    float *out = buffer_place(&outputs, ((s.m - 1) * s_pitch + s.n) * sizeof(float), where, sizeof(float)), scale = random_uniform();
    make_floats(kind, q, s.m * s.width);
    make_floats(FLOATS_GAUSSIAN, out, (s.m - 1) * s_pitch + s.n);
    memcpy(expected, out, ((s.m - 1) * s_pitch + s.n) * sizeof(float)); /* between the rows nothing changes */
    const float *queries[MOST_QUERIES];
    for (size_t j = 0; j < s.m; j++) {
        queries[j] = q + (s.m - 1 - j) * s.width; /* in any order */
        for (size_t i = 0; i < s.n; i++) {
            float lanes[KQ_EXACT_LANES] = {0};
            for (size_t d = 0; d < s.width; d++) {
                float product = queries[j][d] * element(keys, k->codec, i * pitch + d);
                lanes[d % KQ_EXACT_LANES] = lanes[d % KQ_EXACT_LANES] + product;
            }
            expected[j * s_pitch + i] = kq_exact_sum(lanes) * scale;
        }
    }
    buffer_protect(&floats);
    ((kq_score_fn *)k->fn)(queries, s.m, keys, pitch * (k->codec == KQ_F16 ? 2 : 4), s.n, s.width, scale, out, s_pitch);
    compare(out, expected, (s.m - 1) * s_pitch + s.n);
    finish();
}

static void blend_case(const kq_kernel *k, size s, floats_kind kind, place where) {
    case_name("%s: %zu rows, %zu values of %zu, %s, at %s", k->name, s.m, s.n, s.width, floats_names[kind], place_names[where]);
    size_t pitch = s.width + s.gap, e_pitch = s.n + s.gap, acc_floats = (s.m - 1) * pitch + s.width, e_floats = (s.m - 1) * e_pitch + s.n;
    const uint8_t *values = make_cache(k->codec, s.n, s.width, pitch, kind, where);
    buffer_place(&floats, 0, AT_START, 1);
    float *e = buffer_place(&weights, e_floats * sizeof(float), where, sizeof(float));
    float *acc = buffer_place(&outputs, acc_floats * sizeof(float), where, sizeof(float));
    make_floats(kind, e, e_floats);
    make_floats(kind, acc, acc_floats);
    memcpy(expected, acc, acc_floats * sizeof(float));
    for (size_t i = 0; i < s.n; i++)
        for (size_t j = 0; j < s.m; j++)
            for (size_t d = 0; d < s.width; d++) {
                float product = e[j * e_pitch + i] * element(values, k->codec, i * pitch + d);
                expected[j * pitch + d] = expected[j * pitch + d] + product;
            }
    buffer_protect(&weights);
    ((kq_blend_fn *)k->fn)(e, e_pitch, s.m, values, pitch * (k->codec == KQ_F16 ? 2 : 4), s.n, s.width, acc, pitch);
    compare(acc, expected, acc_floats);
    finish();
}

static void soften_case(const kq_kernel *k, size_t n, floats_kind kind, place where) {
    case_name("%s: %zu scores, %s, at %s", k->name, n, kind < N_FLOATS ? floats_names[kind] : "-infinity", place_names[where]);
    buffer_place(&cache, 0, AT_START, 1), buffer_place(&floats, 0, AT_START, 1), buffer_place(&weights, 0, AT_START, 1);
    float *s = buffer_place(&outputs, n * sizeof(float), where, sizeof(float));
    if (kind < N_FLOATS) make_floats(kind, s, n);
    else for (size_t i = 0; i < n; i++) s[i] = -INFINITY;
    float most = -INFINITY, lanes[KQ_EXACT_LANES] = {0}, max, sum;
    for (size_t i = 0; i < n; i++) most = s[i] > most ? s[i] : most;
    for (size_t i = 0; i < n; i++) {
        expected[i] = kq_expf(s[i] - (most == -INFINITY ? 0.0f : most));
        lanes[i % KQ_EXACT_LANES] += expected[i];
    }
    ((kq_soften_fn *)k->fn)(s, n, &max, &sum);
    compare(s, expected, n);
    float want = kq_exact_sum(lanes);
    compare(&sum, &want, 1);
    if (max != most) case_failed("the largest is %a, must be %a", (double)max, (double)most);
    finish();
}

void check_attention(const kq_kernel *k) {
    open_buffers();
    static const size_t lengths[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 255, 256};
    static const size_t widths[] = {1, 7, 8, 15, 16, 17, 24, 33, 64, 80, 100, 127, 128, 192, 256};
    if (k->op == KQ_KERNEL_soften) {
        for (size_t n = 0; n < KQ_COUNT(lengths); n++)
            for (int kind = 0; kind <= N_FLOATS; kind++)
                for (int where = 0; where < N_PLACES; where++) soften_case(k, lengths[n], (floats_kind)kind, (place)where);
        return;
    }
    for (size_t w = 0; w < KQ_COUNT(widths); w++) {
        for (size_t m = 1; m <= MOST_QUERIES; m++) {
            for (int i = 0; i < 4; i++) {
                size s = {m, i == 0 ? 1 + random_below(9) : 1 + random_below(60), widths[w], random_below(2) ? random_below(70) : 0};
                floats_kind kind = (floats_kind)random_below(N_FLOATS);
                (k->op == KQ_KERNEL_score ? score_case : blend_case)(k, s, kind, (place)random_below(N_PLACES));
            }
        }
    }
}

void check_pointwise(const kq_kernel *k) {
    open_buffers();
    static const size_t sizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 33, 100, 4097};
    for (size_t i = 0; i < KQ_COUNT(sizes) * N_FLOATS * N_PLACES * 2; i++) {
        size_t n = sizes[i % KQ_COUNT(sizes)];
        floats_kind kind = (floats_kind)(i / KQ_COUNT(sizes) % N_FLOATS);
        place where = (place)(i / KQ_COUNT(sizes) / N_FLOATS % N_PLACES);
        bool in_place = i / KQ_COUNT(sizes) / N_FLOATS / N_PLACES;
        case_name("%s: %zu values, %s, at %s%s", k->name, n, floats_names[kind], place_names[where], in_place ? ", in place" : "");
        buffer_place(&cache, 0, AT_START, 1);
        float *a = buffer_place(&floats, n * sizeof(float), where, sizeof(float)), *b = buffer_place(&weights, n * sizeof(float), where, sizeof(float));
        float *y = buffer_place(&outputs, n * sizeof(float), where, sizeof(float));
        make_floats(kind, a, n);
        make_floats(kind, b, n);
        if (in_place) memcpy(y, a, n * sizeof(float));
        for (size_t j = 0; j < n; j++) expected[j] = (k->op == KQ_KERNEL_silu ? kq_silu(a[j]) : kq_gelu_tanh(a[j])) * b[j];
        buffer_protect(&floats);
        buffer_protect(&weights);
        ((kq_silu_fn *)k->fn)(in_place ? y : a, b, n, y);
        compare(y, expected, n);
        finish();
    }
}
