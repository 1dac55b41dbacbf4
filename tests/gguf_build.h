/* SPDX-License-Identifier: MIT */
/* Builds GGUF files in memory, field by field: valid ones with little effort, and malformed ones because every count, length,
 * kind and type can be given raw. Nothing is checked, and nothing is shared with the library's writer. */
#ifndef KQ_TESTS_GGUF_BUILD_H
#define KQ_TESTS_GGUF_BUILD_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that grow; out of memory ends the test. */
typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;
void bytes_free(bytes *b);
void put_raw(bytes *b, const void *data, size_t size);
void put_zeros(bytes *b, size_t n);
void put_u8(bytes *b, uint32_t v);
void put_u16(bytes *b, uint32_t v);
void put_u32(bytes *b, uint32_t v);
void put_u64(bytes *b, uint64_t v);
void put_f32(bytes *b, float v);
void put_f64(bytes *b, double v);
void put_text(bytes *b, const char *text);                                   /* u64 length, bytes */
void put_string(bytes *b, uint64_t claimed, const void *data, size_t size);  /* any length claimed */
int write_file(const char *path, const void *data, size_t size);             /* 0 when written */
/* The bytes of a file in memory that holds exactly them, so that a sanitizer sees one byte too far; data is NULL when it cannot be read. */
bytes read_file(const char *path);

/* A GGUF in the making: pairs first, then tensors, then finish. */
typedef struct gguf {
    bytes out;                 /* header and pairs and tensor infos; the whole file when finished */
    bytes data;                /* of tensors that bring their own */
    uint64_t n_kv, n_tensors;  /* counted as they are added; set them before gguf_finish to claim others */
    uint64_t alignment;        /* 32 unless set; general.alignment is not written by itself */
} gguf;
void gguf_begin(gguf *g, uint32_t version); /* "GGUF", version; counts are filled in at the end */
void gguf_key(gguf *g, const char *key, uint32_t kind); /* counts a pair; put its value into g->out */
void gguf_u32(gguf *g, const char *key, uint32_t v);
void gguf_text(gguf *g, const char *key, const char *text);
void gguf_array(gguf *g, const char *key, uint32_t element, uint64_t count); /* put the elements into g->out */
/* The info alone: any name length, any number of dims, any type and offset. */
void gguf_info(gguf *g, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset);
/* A tensor with `bytes` bytes of data, made from its name, at the next aligned offset. */
void gguf_tensor(gguf *g, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, size_t n_bytes);
uint8_t gguf_data_byte(const char *name, size_t i); /* byte i of that data */
void gguf_finish(gguf *g); /* counts, padding, data: the file is g->out */
void gguf_free(gguf *g);

/* A small valid file with every kind of value, alone and in arrays, and tensors of several codecs and shapes. `version` is 2 or 3. */
void gguf_sample(gguf *g, uint32_t version);

#endif
