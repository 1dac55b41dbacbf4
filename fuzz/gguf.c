/* SPDX-License-Identifier: MIT */
/* The GGUF reader on any bytes: what opens is walked to its last byte, through every reader of values. Then once more with an
 * allocation that fails, which one depends on the size of the input. */
#include "meter.h"

#include <kquant/file.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that no read is optimised away */

static void touch(const void *data, uint64_t size) {
    const uint8_t *p = data;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < size; i++) sum += p[i];
    sink += sum;
}

static void must(bool truth) {
    if (!truth) abort();
}

static void read_value(const kq_gguf *g, const kq_gguf_value *v) {
    const char *key = v->key.data;
    kq_error e;
    uint64_t u;
    float f;
    bool b;
    kq_string s;
    int64_t n;
    double d;
    must(key[v->key.size] == 0 && kq_gguf_find(g, key) == v && kq_gguf_kind_name(v->kind) && kq_gguf_kind_name(v->element));
    touch(v->data, v->size);
    if (!kq_gguf_get_u64(g, key, 3, 1000, &u, &e)) must(u >= 3 && u <= 1000);
    if (!kq_gguf_get_f32(g, key, &f, &e)) must(f - f == 0);
    if (!kq_gguf_get_bool_or(g, key, true, &b, &e)) sink += b;
    if (!kq_gguf_get_string(g, key, &s, &e)) touch(s.data, s.size);
    if (kq_gguf_scalar_string(v, &s)) must(s.size + 8 == v->size);
    uint64_t walked = 0, bytes = 0;
    for (kq_gguf_strings it = kq_gguf_strings_of(v); kq_gguf_strings_next(&it, &s); walked++) {
        touch(s.data, s.size);
        bytes += 8 + s.size;
    }
    if (v->kind == KQ_GGUF_ARRAY && v->element == KQ_GGUF_STRING) must(walked == v->count && bytes == v->size);
    for (uint64_t i = 0; i < v->count && v->element != KQ_GGUF_STRING; i++) {
        must(kq_gguf_element_f64(v, i, &d) != (v->element == KQ_GGUF_BOOL));
        if (kq_gguf_element_i64(v, i, &n)) sink += (uint64_t)n;
    }
    must(!kq_gguf_element_i64(v, v->count, &n) && !kq_gguf_element_f64(v, v->count, &d));
}


static void without_memory(const uint8_t *data, size_t size, kq_status expected) {
    meter m = {.fail_at = size % 16 + 1};
    kq_allocator a = meter_allocator(&m);
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    o.allocator = &a;
    kq_gguf *g;
    kq_status status = kq_gguf_open_memory(&g, data, size, NULL, &o, NULL);
    must(status == (m.calls >= m.fail_at ? KQ_E_MEMORY : expected));
    kq_gguf_close(g);
    must(m.live == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kq_gguf *g;
    kq_error e;
    kq_status status = kq_gguf_open_memory(&g, data, size, "fuzz.gguf", NULL, &e);
    without_memory(data, size, status);
    if (status) {
        must(!g && e.status == status && status >= KQ_E_FORMAT && status <= KQ_E_UNSUPPORTED && e.text[0]);
        must(e.offset == KQ_NO_OFFSET || e.offset <= size);
        return 0;
    }
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) read_value(g, kq_gguf_value_at(g, i));
    uint64_t bytes = 0;
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        must(t->name.data[t->name.size] == 0 && kq_gguf_tensor_find(g, t->name.data) == t && t->part == 0);
        must(t->weights >= 1 && t->bytes >= 1 && t->offset % kq_gguf_alignment(g) == 0);
        must((const uint8_t *)t->data == data + t->offset && t->offset + t->bytes <= size);
        touch(t->data, t->bytes);
        bytes += t->bytes;
    }
    must(bytes <= size); /* they do not overlap */
    kq_gguf_close(g);
    return 0;
}
