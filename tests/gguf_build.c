/* SPDX-License-Identifier: MIT */
/* The builder of test files. */
#include "gguf_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}

static uint8_t *room(bytes *b, size_t n) {
    if (n > b->capacity - b->size) {
        b->capacity = (b->size + n) * 2;
        b->data = realloc(b->data, b->capacity);
        if (!b->data) {
            fprintf(stderr, "no memory for a test file\n");
            exit(1);
        }
    }
    b->size += n;
    return b->data + b->size - n;
}

void put_raw(bytes *b, const void *data, size_t size) {
    uint8_t *at = room(b, size);
    if (size) memcpy(at, data, size);
}
void put_zeros(bytes *b, size_t n) {
    uint8_t *at = room(b, n);
    if (n) memset(at, 0, n);
}
void put_u8(bytes *b, uint32_t v) { put_raw(b, &(uint8_t){(uint8_t)v}, 1); }
void put_u16(bytes *b, uint32_t v) { put_raw(b, &(uint16_t){(uint16_t)v}, 2); }
void put_u32(bytes *b, uint32_t v) { put_raw(b, &v, 4); }
void put_u64(bytes *b, uint64_t v) { put_raw(b, &v, 8); }
void put_f32(bytes *b, float v) { put_raw(b, &v, 4); }
void put_f64(bytes *b, double v) { put_raw(b, &v, 8); }
void put_string(bytes *b, uint64_t claimed, const void *data, size_t size) {
    put_u64(b, claimed);
    put_raw(b, data, size);
}
void put_text(bytes *b, const char *text) { put_string(b, strlen(text), text, strlen(text)); }

int write_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f) return -1;
    size_t n = size ? fwrite(data, 1, size, f) : 0;
    return fclose(f) == 0 && n == size ? 0 : -1;
}

bytes read_file(const char *path) {
    bytes b = {0};
    FILE *f = fopen(path, "rb");
    if (!f) return b;
    if (fseek(f, 0, SEEK_END) == 0) {
        long size = ftell(f);
        rewind(f);
        b.data = size >= 0 ? malloc(size ? (size_t)size : 1) : NULL;
        if (b.data) b.size = b.capacity = fread(b.data, 1, (size_t)size, f);
    }
    fclose(f);
    return b;
}

void gguf_begin(gguf *g, uint32_t version) {
    *g = (gguf){.alignment = 32};
    put_raw(&g->out, "GGUF", 4);
    put_u32(&g->out, version);
    put_u64(&g->out, 0);
    put_u64(&g->out, 0);
}

void gguf_key(gguf *g, const char *key, uint32_t kind) {
    put_text(&g->out, key);
    put_u32(&g->out, kind);
    g->n_kv++;
}
void gguf_u32(gguf *g, const char *key, uint32_t v) {
    gguf_key(g, key, 4);
    put_u32(&g->out, v);
}
void gguf_text(gguf *g, const char *key, const char *text) {
    gguf_key(g, key, 8);
    put_text(&g->out, text);
}
void gguf_array(gguf *g, const char *key, uint32_t element, uint64_t count) {
    gguf_key(g, key, 9);
    put_u32(&g->out, element);
    put_u64(&g->out, count);
}

void gguf_info(gguf *g, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset) {
    put_text(&g->out, name);
    put_u32(&g->out, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) put_u64(&g->out, dims[d]);
    put_u32(&g->out, type);
    put_u64(&g->out, offset);
    g->n_tensors++;
}

uint8_t gguf_data_byte(const char *name, size_t i) { return (uint8_t)((uint8_t)name[i % strlen(name)] + i * 7); }

static void pad(bytes *b, uint64_t alignment) { put_zeros(b, (size_t)((0 - (uint64_t)b->size) % alignment)); }

void gguf_tensor(gguf *g, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, size_t n_bytes) {
    pad(&g->data, g->alignment);
    gguf_info(g, name, n_dims, dims, type, g->data.size);
    for (size_t i = 0; i < n_bytes; i++) put_u8(&g->data, gguf_data_byte(name, i));
}

void gguf_finish(gguf *g) {
    memcpy(g->out.data + 8, &g->n_tensors, 8);
    memcpy(g->out.data + 16, &g->n_kv, 8);
    if (!g->n_tensors) return;
    pad(&g->out, g->alignment);
    put_raw(&g->out, g->data.data, g->data.size);
}

void gguf_free(gguf *g) {
    bytes_free(&g->out);
    bytes_free(&g->data);
}

static void sample_scalars(gguf *g) {
    bytes *b = &g->out;
    gguf_key(g, "scalar.u8", 0), put_u8(b, 200);
    gguf_key(g, "scalar.i8", 1), put_u8(b, (uint32_t)-100);
    gguf_key(g, "scalar.u16", 2), put_u16(b, 60000);
    gguf_key(g, "scalar.i16", 3), put_u16(b, (uint32_t)-30000);
    gguf_key(g, "scalar.u32", 4), put_u32(b, 4000000000u);
    gguf_key(g, "scalar.i32", 5), put_u32(b, (uint32_t)-2000000000);
    gguf_key(g, "scalar.f32", 6), put_f32(b, 1.5f);
    gguf_key(g, "scalar.bool", 7), put_u8(b, 1);
    gguf_key(g, "scalar.string", 8), put_text(b, "a string");
    gguf_key(g, "scalar.empty", 8), put_text(b, "");
    gguf_key(g, "scalar.bytes", 8), put_string(b, 4, "\0\xff\n\x80", 4);
    gguf_key(g, "scalar.u64", 10), put_u64(b, UINT64_MAX);
    gguf_key(g, "scalar.i64", 11), put_u64(b, (uint64_t)INT64_MIN);
    gguf_key(g, "scalar.f64", 12), put_f64(b, 0x1.0000000000001p-3);
}

static void sample_arrays(gguf *g) {
    bytes *b = &g->out;
    gguf_array(g, "array.u8", 0, 3), put_u8(b, 1), put_u8(b, 2), put_u8(b, 255);
    gguf_array(g, "array.i8", 1, 2), put_u8(b, 127), put_u8(b, 128);
    gguf_array(g, "array.u16", 2, 2), put_u16(b, 1), put_u16(b, 65535);
    gguf_array(g, "array.i16", 3, 2), put_u16(b, 32767), put_u16(b, 32768);
    gguf_array(g, "array.u32", 4, 2), put_u32(b, 1), put_u32(b, UINT32_MAX);
    gguf_array(g, "array.i32", 5, 2), put_u32(b, INT32_MAX), put_u32(b, (uint32_t)INT32_MIN);
    gguf_array(g, "array.f32", 6, 2), put_f32(b, -0.5f), put_f32(b, 0x1p-149f);
    gguf_array(g, "array.bool", 7, 3), put_u8(b, 1), put_u8(b, 0), put_u8(b, 1);
    gguf_array(g, "array.string", 8, 3), put_text(b, "one"), put_text(b, ""), put_text(b, "three");
    gguf_array(g, "array.u64", 10, 2), put_u64(b, INT64_MAX), put_u64(b, UINT64_MAX);
    gguf_array(g, "array.i64", 11, 2), put_u64(b, INT64_MAX), put_u64(b, (uint64_t)INT64_MIN);
    gguf_array(g, "array.f64", 12, 1), put_f64(b, 1e300);
    gguf_array(g, "array.none", 5, 0);
    gguf_array(g, "array.no_strings", 8, 0);
}

void gguf_sample(gguf *g, uint32_t version) {
    gguf_begin(g, version);
    gguf_text(g, "general.architecture", "sample");
    gguf_u32(g, "general.alignment", 64);
    g->alignment = 64;
    sample_scalars(g);
    sample_arrays(g);
    gguf_tensor(g, "one", 1, (uint64_t[]){1}, 24, 1);                       /* i8 */
    gguf_tensor(g, "norm.weight", 1, (uint64_t[]){17}, 0, 68);              /* f32 */
    gguf_tensor(g, "half", 2, (uint64_t[]){3, 5}, 1, 30);                   /* f16 */
    gguf_tensor(g, "blk.0.attn_q.weight", 2, (uint64_t[]){64, 3}, 2, 108);  /* q4_0 */
    gguf_tensor(g, "blk.0.ffn_up.weight", 2, (uint64_t[]){256, 2}, 12, 288); /* q4_k */
    gguf_tensor(g, "experts", 3, (uint64_t[]){32, 2, 3}, 8, 204);           /* q8_0 */
    gguf_tensor(g, "four", 4, (uint64_t[]){2, 3, 4, 5}, 30, 240);           /* bf16 */
    gguf_finish(g);
}
