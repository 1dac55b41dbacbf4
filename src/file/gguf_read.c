/* SPDX-License-Identifier: MIT */
/* Reads one GGUF file: walks the header once with a bounded cursor, and believes a number only after the bytes that it
 * promises have been seen to be there.
 *
 *   "GGUF"  u32 version  u64 n_tensors  u64 n_kv                      all little-endian, nothing aligned
 *   n_kv      x { string key, u32 kind, value }                       string = u64 length, bytes
 *   n_tensors x { string name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset }
 *   zeros up to a multiple of the alignment, then data; a tensor's offset counts from there
 *
 * An array's value is u32 element kind, u64 count, elements. Work and memory are linear in the header's size: the smallest
 * pair takes 14 bytes of the file and the smallest tensor 33, which bounds every array made here. */
#include "file/file.h"

enum { HEADER_BYTES = 24, MIN_PAIR_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

typedef struct reader {
    kq_gguf *g;
    const char *path;
    kq_cursor c;
    kq_error *err;
} reader;

/* Refuses the file: the offset is where the bad field begins. */
#define REFUSE(r, status, at, ...) kq_fail_at((r)->err, (status), (r)->path, (at), __VA_ARGS__)

typedef unsigned long long ull; /* for printf */

kq_shown kq_show(const char *data, size_t size) {
    static const char hex[] = "0123456789abcdef";
    enum { HEAD = 16, DOTS = 3, TAIL = 21 };
    kq_shown s;
    size_t n = 0;
    bool whole = size <= HEAD + DOTS + TAIL;
    for (size_t i = 0; whole && i < size; i++) whole = data[i] >= 0x20 && data[i] < 0x7f;
    if (whole) {
        if (size) memcpy(s.text, data, size);
        s.text[size] = 0;
        return s;
    }
    for (size_t i = 0; i < size && n < HEAD + DOTS + TAIL; i++) {
        uint8_t byte = (uint8_t)data[i];
        if (size > HEAD + DOTS + TAIL && n >= HEAD && i < size - TAIL) { /* the tail of blk.12.ffn_down.weight tells most */
            memcpy(s.text + n, "...", DOTS);
            n += DOTS;
            i = size - TAIL - 1;
        } else if (byte >= 0x20 && byte < 0x7f) {
            s.text[n++] = (char)byte;
        } else {
            if (n + 4 > HEAD + DOTS + TAIL) break;
            s.text[n++] = '\\';
            s.text[n++] = 'x';
            s.text[n++] = hex[byte >> 4];
            s.text[n++] = hex[byte & 15];
        }
    }
    s.text[n] = 0;
    return s;
}

uint32_t kq_gguf_kind_bytes(uint32_t kind) {
    switch (kind) {
    case KQ_GGUF_U8: case KQ_GGUF_I8: case KQ_GGUF_BOOL: return 1;
    case KQ_GGUF_U16: case KQ_GGUF_I16: return 2;
    case KQ_GGUF_U32: case KQ_GGUF_I32: case KQ_GGUF_F32: return 4;
    case KQ_GGUF_U64: case KQ_GGUF_I64: case KQ_GGUF_F64: return 8;
    default: return 0;
    }
}

/* A string of 1 to `limit` bytes without NUL, copied with a zero behind it. `what` is "key" or "tensor". */
static kq_status read_name(reader *r, const char *what, uint64_t i, uint64_t n, uint64_t limit, kq_string *out) {
    uint64_t at = r->c.at, size;
    if (!kq_cursor_u64(&r->c, &size)) {
        return REFUSE(r, KQ_E_FORMAT, at, "the file ends before %s %llu of %llu", what, (ull)i + 1, (ull)n);
    }
    uint64_t left = kq_cursor_left(&r->c);
    if (size > left) {
        return REFUSE(r, KQ_E_FORMAT, at, "%s %llu of %llu: its name has %llu bytes, but the file has only %llu more", what, (ull)i + 1,
                      (ull)n, (ull)size, (ull)left);
    }
    if (size == 0) {
        return REFUSE(r, KQ_E_FORMAT, at, "%s %llu of %llu: its name has 0 bytes, must be 1 to %llu", what, (ull)i + 1, (ull)n, (ull)limit);
    }
    const char *bytes = (const char *)kq_cursor_take(&r->c, size);
    if (size > limit) {
        return REFUSE(r, KQ_E_LIMIT, at, "%s %llu of %llu '%s': its name has %llu bytes, the limit is %llu", what, (ull)i + 1, (ull)n,
                      kq_show(bytes, (size_t)size).text, (ull)size, (ull)limit);
    }
    if (memchr(bytes, 0, (size_t)size)) {
        return REFUSE(r, KQ_E_FORMAT, at, "%s %llu of %llu '%s': its name holds a byte 0", what, (ull)i + 1, (ull)n,
                      kq_show(bytes, (size_t)size).text);
    }
    char *copy = kq_arena_string(&r->g->arena, bytes, (size_t)size);
    if (!copy) return kq_fail_memory(r->err, size + 1, "a name");
    *out = (kq_string){.data = copy, .size = (size_t)size};
    return KQ_OK;
}

/* ---- values ------------------------------------------------------------------------------------------------------- */

static kq_status skip_string(reader *r, const kq_gguf_value *v, uint64_t i) {
    uint64_t at = r->c.at, size = 0;
    bool there = kq_cursor_u64(&r->c, &size);
    uint64_t left = kq_cursor_left(&r->c);
    if (!there || !kq_cursor_take(&r->c, size)) {
        return REFUSE(r, KQ_E_FORMAT, at, "key '%s': string %llu of %llu has %llu bytes, but the file has only %llu more", KQ_SHOW(v->key),
                      (ull)i + 1, (ull)v->count, there ? (ull)size : 8, (ull)left);
    }
    return KQ_OK;
}

static kq_status skip_elements(reader *r, const kq_gguf_value *v) {
    uint64_t at = r->c.at, left = kq_cursor_left(&r->c);
    uint32_t size = v->element == KQ_GGUF_STRING ? 8 : kq_gguf_kind_bytes(v->element); /* a string takes 8 bytes at least */
    assert(size > 0); /* arrays of arrays were refused */
    if (v->count > left / size) {
        return REFUSE(r, KQ_E_FORMAT, at, "key '%s': %llu x %s of %u bytes, but the file has only %llu more", KQ_SHOW(v->key), (ull)v->count,
                      kq_gguf_kind_name(v->element), size, (ull)left);
    }
    if (v->element == KQ_GGUF_STRING) {
        for (uint64_t i = 0; i < v->count; i++) KQ_TRY(skip_string(r, v, i));
        return KQ_OK;
    }
    const uint8_t *bytes = kq_cursor_take(&r->c, v->count * size); /* no overflow: at most left */
    if (v->element == KQ_GGUF_BOOL) {
        for (uint64_t i = 0; i < v->count; i++) {
            if (bytes[i] > 1) {
                return REFUSE(r, KQ_E_FORMAT, at + i, "key '%s': bool %llu of %llu is %u, must be 0 or 1", KQ_SHOW(v->key), (ull)i + 1,
                              (ull)v->count, bytes[i]);
            }
        }
    }
    return KQ_OK;
}

/* The value's kind, and for an array its element kind and count; leaves the cursor at the first element. */
static kq_status read_kind(reader *r, kq_gguf_value *v) {
    uint64_t at = r->c.at;
    uint32_t kind, element;
    if (!kq_cursor_u32(&r->c, &kind)) return REFUSE(r, KQ_E_FORMAT, at, "key '%s': the file ends before its kind", KQ_SHOW(v->key));
    if (!kq_gguf_kind_name(kind)) {
        return REFUSE(r, KQ_E_FORMAT, at, "key '%s': its kind is %u, must be 0 to %d", KQ_SHOW(v->key), kind, KQ_GGUF_F64);
    }
    element = kind;
    v->count = 1;
    if (kind == KQ_GGUF_ARRAY) {
        at = r->c.at;
        if (!kq_cursor_u32(&r->c, &element) || !kq_cursor_u64(&r->c, &v->count)) {
            return REFUSE(r, KQ_E_FORMAT, at, "key '%s': the file ends before its elements", KQ_SHOW(v->key));
        }
        if (element == KQ_GGUF_ARRAY) {
            return REFUSE(r, KQ_E_UNSUPPORTED, at, "key '%s': an array of arrays (element kind 9) is not supported", KQ_SHOW(v->key));
        }
        if (!kq_gguf_kind_name(element)) {
            return REFUSE(r, KQ_E_FORMAT, at, "key '%s': its element kind is %u, must be 0 to %d", KQ_SHOW(v->key), element, KQ_GGUF_F64);
        }
    }
    v->kind = (kq_gguf_kind)kind;
    v->element = (kq_gguf_kind)element;
    return KQ_OK;
}

static kq_status read_values(reader *r, uint64_t n) {
    kq_gguf *g = r->g;
    g->values = kq_alloc(&g->allocator, n, sizeof *g->values);
    if (!g->values || !kq_strmap_init(&g->keys, &g->allocator, (size_t)n)) {
        return kq_fail_memory(r->err, n * (sizeof *g->values + sizeof *g->keys.slots), "the keys of a file");
    }
    for (uint64_t i = 0; i < n; i++) {
        kq_gguf_value *v = &g->values[i];
        uint64_t at = r->c.at;
        KQ_TRY(read_name(r, "key", i, n, KQ_GGUF_MAX_KEY, &v->key));
        uint32_t first = 0;
        bool failed = false;
        if (!kq_strmap_add(&g->keys, v->key.data, v->key.size, (uint32_t)i, &first, &failed)) {
            if (failed) return kq_fail_memory(r->err, sizeof *g->keys.slots, "a key");
            return REFUSE(r, KQ_E_FORMAT, at, "key %llu of %llu '%s' is already key %u", (ull)i + 1, (ull)n, KQ_SHOW(v->key), first + 1);
        }
        KQ_TRY(read_kind(r, v));
        v->offset = r->c.at;
        v->data = r->c.data + r->c.at;
        KQ_TRY(skip_elements(r, v));
        v->size = r->c.at - v->offset;
        g->n_values++;
    }
    return KQ_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------ */

kq_status kq_gguf_measure(kq_gguf_tensor *t, uint32_t type, kq_error *err) {
    if (t->n_dims < 1 || t->n_dims > KQ_GGUF_MAX_DIMS) {
        return kq_fail(err, KQ_E_FORMAT, "tensor '%s': n_dims is %u, must be 1 to %d", KQ_SHOW(t->name), t->n_dims, KQ_GGUF_MAX_DIMS);
    }
    t->weights = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dims[d] == 0) return kq_fail(err, KQ_E_FORMAT, "tensor '%s': dim %u is 0, must be at least 1", KQ_SHOW(t->name), d);
        if (!kq_mul(t->weights, t->dims[d], &t->weights)) {
            return kq_fail(err, KQ_E_FORMAT, "tensor '%s': dim %u is %llu, the product of the dims is over 2^64 - 1", KQ_SHOW(t->name), d,
                           (ull)t->dims[d]);
        }
    }
    for (uint32_t d = t->n_dims; d < KQ_GGUF_MAX_DIMS; d++) t->dims[d] = 1;
    const kq_codec_info *info = kq_codec_describe(type);
    if (!info) return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s': its type is %u, which is none that is known", KQ_SHOW(t->name), type);
    t->codec = info->codec;
    if (t->dims[0] % info->block_weights) {
        return kq_fail(err, KQ_E_FORMAT, "tensor '%s': dim 0 is %llu, no multiple of the %u weights in a block of %s", KQ_SHOW(t->name),
                       (ull)t->dims[0], info->block_weights, info->name);
    }
    if (!kq_mul(t->weights / info->block_weights, info->block_bytes, &t->bytes)) {
        return kq_fail(err, KQ_E_FORMAT, "tensor '%s': %llu weights of %s are over 2^64 - 1 bytes", KQ_SHOW(t->name), (ull)t->weights,
                       info->name);
    }
    return KQ_OK;
}

static kq_status read_shape(reader *r, kq_gguf_tensor *t) {
    uint64_t at = r->c.at;
    uint32_t type = 0;
    bool there = kq_cursor_u32(&r->c, &t->n_dims), sane = t->n_dims >= 1 && t->n_dims <= KQ_GGUF_MAX_DIMS;
    if (there && sane) { /* otherwise kq_gguf_measure says what is wrong */
        for (uint32_t d = 0; there && d < t->n_dims; d++) there = kq_cursor_u64(&r->c, &t->dims[d]);
        there = there && kq_cursor_u32(&r->c, &type);
    }
    if (!there) return REFUSE(r, KQ_E_FORMAT, at, "tensor '%s': the file ends inside its shape", KQ_SHOW(t->name));
    kq_status status = kq_gguf_measure(t, type, r->err);
    return status ? REFUSE(r, status, at, "%s", r->err ? r->err->text : "") : KQ_OK;
}

static kq_status read_tensors(reader *r, uint64_t n, uint64_t alignment) {
    kq_gguf *g = r->g;
    g->tensors = kq_alloc(&g->allocator, n, sizeof *g->tensors);
    if (!g->tensors || !kq_strmap_init(&g->names, &g->allocator, (size_t)n)) {
        return kq_fail_memory(r->err, n * (sizeof *g->tensors + sizeof *g->names.slots), "the tensors of a file");
    }
    g->tensors_capacity = (size_t)n;
    for (uint64_t i = 0; i < n; i++) {
        kq_gguf_tensor *t = &g->tensors[i];
        uint64_t at = r->c.at;
        KQ_TRY(read_name(r, "tensor", i, n, KQ_GGUF_MAX_NAME, &t->name));
        uint32_t first = 0;
        bool failed = false;
        if (!kq_strmap_add(&g->names, t->name.data, t->name.size, (uint32_t)i, &first, &failed)) {
            if (failed) return kq_fail_memory(r->err, sizeof *g->names.slots, "a tensor's name");
            return REFUSE(r, KQ_E_FORMAT, at, "tensor %llu of %llu '%s' is already tensor %u", (ull)i + 1, (ull)n, KQ_SHOW(t->name), first + 1);
        }
        KQ_TRY(read_shape(r, t));
        at = r->c.at;
        if (!kq_cursor_u64(&r->c, &t->offset)) {
            return REFUSE(r, KQ_E_FORMAT, at, "tensor '%s': the file ends before its offset", KQ_SHOW(t->name));
        }
        if (t->offset % alignment) {
            return REFUSE(r, KQ_E_FORMAT, at, "tensor '%s': its offset is %llu, no multiple of the alignment %llu", KQ_SHOW(t->name),
                          (ull)t->offset, (ull)alignment);
        }
        g->n_tensors++;
    }
    return KQ_OK;
}

/* Offsets relative to the data become absolute, and every extent is inside the file. */
static kq_status place_tensors(reader *r, uint64_t alignment) {
    kq_gguf *g = r->g;
    uint64_t begin;
    if (g->n_tensors && (!kq_round_up(r->c.at, alignment, &begin) || begin > r->c.size)) {
        return REFUSE(r, KQ_E_FORMAT, r->c.at, "tensor '%s': the file ends at %llu, before any tensor's data", KQ_SHOW(g->tensors[0].name),
                      (ull)r->c.size);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        kq_gguf_tensor *t = &g->tensors[i];
        uint64_t at;
        if (!kq_add(begin, t->offset, &at) || !kq_within(at, t->bytes, r->c.size)) {
            return REFUSE(r, KQ_E_FORMAT, begin, "tensor '%s': %llu bytes at offset %llu, the file has %llu bytes of data",
                          KQ_SHOW(t->name), (ull)t->bytes, (ull)t->offset, (ull)(r->c.size - begin));
        }
        t->offset = at;
        t->data = r->c.data + at;
    }
    return KQ_OK;
}

static bool before(const void *ctx, uint32_t a, uint32_t b) {
    const kq_gguf_tensor *tensors = ctx;
    return tensors[a].offset < tensors[b].offset;
}

static kq_status check_overlap(reader *r, const kq_gguf_tensor *a, const kq_gguf_tensor *b) {
    if (a->offset + a->bytes <= b->offset) return KQ_OK; /* no overflow: both are inside the file */
    return REFUSE(r, KQ_E_FORMAT, b->offset, "tensor '%s' begins inside tensor '%s', %llu bytes at %llu", KQ_SHOW(b->name),
                  KQ_SHOW(a->name), (ull)a->bytes, (ull)a->offset);
}

static kq_status check_overlaps(reader *r) {
    kq_gguf *g = r->g;
    size_t n = g->n_tensors, i = 1;
    while (i < n && g->tensors[i - 1].offset < g->tensors[i].offset) i++;
    if (i >= n) { /* in order of offset already, as every writer leaves them */
        for (i = 1; i < n; i++) KQ_TRY(check_overlap(r, &g->tensors[i - 1], &g->tensors[i]));
        return KQ_OK;
    }
    uint32_t *order = kq_alloc(&g->allocator, n, sizeof *order);
    if (!order) return kq_fail_memory(r->err, n * sizeof *order, "the order of tensors");
    for (i = 0; i < n; i++) order[i] = (uint32_t)i;
    kq_sort_indices(order, n, before, g->tensors);
    kq_status status = KQ_OK;
    for (i = 1; i < n && !status; i++) status = check_overlap(r, &g->tensors[order[i - 1]], &g->tensors[order[i]]);
    kq_free(&g->allocator, order);
    return status;
}

/* ---- the whole file ----------------------------------------------------------------------------------------------- */

static kq_status read_alignment(reader *r, uint64_t *out) {
    *out = KQ_GGUF_DEFAULT_ALIGNMENT;
    const kq_gguf_value *v = kq_gguf_find(r->g, "general.alignment");
    if (!v) return KQ_OK;
    if (v->kind != KQ_GGUF_U32) {
        return REFUSE(r, KQ_E_FORMAT, v->offset, "key 'general.alignment' is %s, must be u32", kq_gguf_kind_name(v->kind));
    }
    uint32_t alignment = kq_load_u32(v->data);
    if (alignment < KQ_GGUF_MIN_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        return REFUSE(r, KQ_E_FORMAT, v->offset, "key 'general.alignment' is %u, must be a power of two from %d to %d", alignment,
                      KQ_GGUF_MIN_ALIGNMENT, KQ_GGUF_MAX_ALIGNMENT);
    }
    if (alignment > KQ_GGUF_MAX_ALIGNMENT) {
        return REFUSE(r, KQ_E_LIMIT, v->offset, "key 'general.alignment' is %u, the limit is %d", alignment, KQ_GGUF_MAX_ALIGNMENT);
    }
    *out = alignment;
    return KQ_OK;
}

static kq_status read_version(reader *r) {
    uint32_t magic = 0, version = 0;
    if (r->c.size < HEADER_BYTES) {
        bool maybe = r->c.size >= 4 && memcmp(r->c.data, "GGUF", 4) == 0;
        return REFUSE(r, KQ_E_FORMAT, 0, "the file has %llu bytes, %s %d", (ull)r->c.size,
                      maybe ? "a GGUF header takes" : "it is no GGUF: a header takes", HEADER_BYTES);
    }
    kq_cursor_u32(&r->c, &magic);
    if (memcmp(r->c.data, "GGUF", 4) != 0) {
        return REFUSE(r, KQ_E_FORMAT, 0, "it is no GGUF: it begins with '%s', must be 'GGUF'", kq_show((const char *)r->c.data, 4).text);
    }
    kq_cursor_u32(&r->c, &version);
    uint32_t swapped = __builtin_bswap32(version);
    if (swapped >= 1 && swapped <= 3) {
        return REFUSE(r, KQ_E_UNSUPPORTED, 4, "it is a big-endian GGUF (version %u), only little-endian files are supported", swapped);
    }
    if (version < 2 || version > 3) return REFUSE(r, KQ_E_UNSUPPORTED, 4, "its GGUF version is %u, must be 2 or 3", version);
    r->g->version = version;
    return KQ_OK;
}

static kq_status check_count(reader *r, uint64_t at, const char *what, uint64_t n, uint64_t smallest, uint64_t limit) {
    uint64_t left = kq_cursor_left(&r->c);
    if (n > left / smallest) {
        return REFUSE(r, KQ_E_FORMAT, at, "%s is %llu, but the file has only %llu more bytes, room for %llu", what, (ull)n, (ull)left,
                      (ull)(left / smallest));
    }
    if (n > limit) return REFUSE(r, KQ_E_LIMIT, at, "%s is %llu, the limit is %llu", what, (ull)n, (ull)limit);
    return KQ_OK;
}

static kq_status read_file(reader *r) {
    kq_gguf_part *part = &r->g->parts[0];
    uint64_t n_tensors = 0, n_kv = 0;
    KQ_TRY(read_version(r));
    kq_cursor_u64(&r->c, &n_tensors); /* the header's 24 bytes are there */
    kq_cursor_u64(&r->c, &n_kv);
    KQ_TRY(check_count(r, 8, "n_tensors", n_tensors, MIN_TENSOR_BYTES, KQ_GGUF_MAX_TENSORS));
    KQ_TRY(check_count(r, 16, "n_kv", n_kv, MIN_PAIR_BYTES, KQ_GGUF_MAX_KEYS));
    KQ_TRY(read_values(r, n_kv));
    KQ_TRY(read_alignment(r, &part->alignment));
    KQ_TRY(check_count(r, 8, "n_tensors", n_tensors, MIN_TENSOR_BYTES, KQ_GGUF_MAX_TENSORS));
    KQ_TRY(read_tensors(r, n_tensors, part->alignment));
    KQ_TRY(place_tensors(r, part->alignment));
    return check_overlaps(r);
}

kq_status kq_gguf_read(kq_gguf **out, const char *path, kq_map *map, const uint8_t *data, uint64_t size, const kq_allocator *a,
                       kq_error *err) {
    *out = NULL;
    kq_gguf *g = kq_alloc(a, 1, sizeof *g);
    if (!g) {
        kq_map_close(map);
        return kq_fail_memory(err, sizeof *g, "an open GGUF");
    }
    g->allocator = *a;
    kq_arena_init(&g->arena, a);
    char *copy = kq_arena_string(&g->arena, path, strlen(path));
    kq_status status = KQ_OK;
    if (!copy || !kq_grow(a, &g->parts, &g->parts_capacity, 1, sizeof *g->parts)) {
        kq_map_close(map);
        status = kq_fail_memory(err, strlen(path) + sizeof *g->parts, "an open GGUF");
    } else {
        g->parts[0] = (kq_gguf_part){.path = copy, .map = *map, .data = data, .size = size};
        g->n_parts = 1;
        reader r = {.g = g, .path = copy, .c = {.data = data, .size = size}, .err = err};
        status = read_file(&r);
    }
    if (status) {
        kq_gguf_close(g);
        return status;
    }
    *out = g;
    return KQ_OK;
}

void kq_gguf_close(kq_gguf *g) {
    if (!g) return;
    kq_allocator a = g->allocator;
    for (size_t i = 0; i < g->n_parts; i++) kq_map_close(&g->parts[i].map);
    if (g->owner.object) g->owner.close(g->owner.object);
    kq_strmap_free(&g->keys);
    kq_strmap_free(&g->names);
    kq_free(&a, g->parts);
    kq_free(&a, g->values);
    kq_free(&a, g->tensors);
    kq_arena_free(&g->arena);
    kq_free(&a, g);
}
