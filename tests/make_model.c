/* SPDX-License-Identifier: MIT */
/* Element i of tensor NAME is made of
 *     u(i) = (splitmix64(fnv1a64(NAME), i) >> 40) / 2^23 - 1, in [-1, 1)
 * where splitmix64(s, i) mixes z = s + (i + 1) * 0x9E3779B97F4A7C15. It is
 *     1 + 0.1 u          for names that end in "norm.weight" and for "rope_freqs.weight"
 *     -0.1 - |u|         for names that contain "ssm_a"
 *     0.17320508 u       for every other: standard deviation 0.1
 * computed in double and rounded to float. The goldens were made with these weights. */
#include "make_model.h"

#include "golden.h"

#include <jansson.h>
#include <math.h>

enum { SMALLEST_WIDTH = 32 }; /* numbers of heads, experts and layers are less */

typedef struct tensor {
    const char *name;
    uint32_t n_dims;
    uint64_t dims[4];
    size_t n;
    float *data;
} tensor;

struct spec {
    json_t *root, *metadata; /* [[key, kind, value] ...] */
    size_t n_tensors;
    tensor *tensors;
};

static void die(const char *what) {
    fprintf(stderr, "a model's specification: %s\n", what);
    exit(1);
}

static void *must(void *p) {
    if (!p) die("no memory, or not as expected");
    return p;
}

/* ---- weights ------------------------------------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static void make_weights(tensor *t) {
    uint64_t seed = golden_hash(t->name, strlen(t->name));
    bool norm = ends_with(t->name, "norm.weight") || strcmp(t->name, "rope_freqs.weight") == 0, ssm_a = strstr(t->name, "ssm_a") != NULL;
    for (size_t i = 0; i < t->n; i++) {
        double u = (double)(splitmix(seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15)) >> 40) * 0x1p-23 - 1.0;
        t->data[i] = (float)(norm ? 1.0 + 0.1 * u : ssm_a ? -0.1 - fabs(u) : 0.17320508 * u);
    }
}

static void read_tensor(tensor *t, const json_t *from, uint64_t shrink) {
    t->name = must((void *)(uintptr_t)json_string_value(json_object_get(from, "name")));
    const json_t *shape = must(json_object_get(from, "shape"));
    t->n_dims = (uint32_t)json_array_size(shape);
    t->n = 1;
    if (t->n_dims < 1 || t->n_dims > 4) die("dims");
    for (uint32_t d = 0; d < t->n_dims; d++) {
        t->dims[d] = (uint64_t)json_integer_value(json_array_get(shape, d));
        if (t->dims[d] >= SMALLEST_WIDTH) t->dims[d] /= shrink;
        t->n *= t->dims[d];
    }
    t->data = must(malloc(t->n * sizeof(float)));
    make_weights(t);
}

/* ---- metadata ------------------------------------------------------------------------------------------------------ */

static const char *const kinds[] = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array",
                                    "uint64", "int64", "float64"};

static uint32_t kind_of(const char *name) {
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i], name) == 0) return i;
    }
    die("a kind");
    return 0;
}

static void put_value(bytes *b, uint32_t kind, const json_t *v) {
    switch (kind) {
    case 0: case 1: put_u8(b, (uint32_t)json_integer_value(v)); break;
    case 2: case 3: put_u16(b, (uint32_t)json_integer_value(v)); break;
    case 4: case 5: put_u32(b, (uint32_t)json_integer_value(v)); break;
    case 6: put_f32(b, (float)json_number_value(v)); break;
    case 7: put_u8(b, json_is_true(v)); break;
    case 8: put_text(b, must((void *)(uintptr_t)json_string_value(v))); break;
    case 10: case 11: put_u64(b, (uint64_t)json_integer_value(v)); break;
    case 12: put_f64(b, json_number_value(v)); break;
    default: die("a value");
    }
}

static void put_pair(gguf *g, const json_t *pair) {
    const char *key = must((void *)(uintptr_t)json_string_value(json_array_get(pair, 0)));
    const char *kind = must((void *)(uintptr_t)json_string_value(json_array_get(pair, 1)));
    const json_t *value = json_array_get(pair, 2);
    if (strncmp(kind, "array:", 6) != 0) {
        gguf_key(g, key, kind_of(kind));
        put_value(&g->out, kind_of(kind), value);
        return;
    }
    uint32_t element = kind_of(kind + 6);
    gguf_array(g, key, element, json_array_size(value));
    for (size_t i = 0; i < json_array_size(value); i++) put_value(&g->out, element, json_array_get(value, i));
}

/* ---- the specification --------------------------------------------------------------------------------------------- */

/* The keys that give widths: u32 values from SMALLEST_WIDTH on, but the context. */
static void shrink_metadata(spec *s, json_int_t shrink) {
    for (size_t i = 0; i < spec_n_keys(s); i++) {
        json_t *pair = json_array_get(s->metadata, i), *value = json_array_get(pair, 2);
        if (!json_is_integer(value) || json_integer_value(value) < SMALLEST_WIDTH || ends_with(spec_key(s, i), ".context_length")) continue;
        json_integer_set(value, json_integer_value(value) / shrink);
    }
}

spec *spec_open_shrunk(const char *name, uint64_t shrink) {
    size_t size;
    uint8_t *text = golden_read(&size, "models/%s.json", name);
    spec *s = must(calloc(1, sizeof *s));
    s->root = must(json_loadb((const char *)text, size, 0, NULL));
    free(text);
    s->metadata = must(json_object_get(s->root, "metadata"));
    const json_t *tensors = must(json_object_get(s->root, "tensors"));
    s->n_tensors = json_array_size(tensors);
    s->tensors = must(calloc(s->n_tensors, sizeof *s->tensors));
    for (size_t i = 0; i < s->n_tensors; i++) read_tensor(&s->tensors[i], json_array_get(tensors, i), shrink);
    shrink_metadata(s, (json_int_t)shrink);
    return s;
}

spec *spec_open(const char *name) { return spec_open_shrunk(name, 1); }

void spec_close(spec *s) {
    for (size_t i = 0; i < s->n_tensors; i++) free(s->tensors[i].data);
    free(s->tensors);
    json_decref(s->root);
    free(s);
}

size_t spec_n_keys(const spec *s) { return json_array_size(s->metadata); }
const char *spec_key(const spec *s, size_t i) { return json_string_value(json_array_get(json_array_get(s->metadata, i), 0)); }
size_t spec_n_tensors(const spec *s) { return s->n_tensors; }
const char *spec_tensor(const spec *s, size_t i) { return s->tensors[i].name; }

/* ---- the file ------------------------------------------------------------------------------------------------------ */

static void put_metadata(gguf *g, const spec *s, const spec_change *c) {
    bool changed = false;
    for (size_t i = 0; i < spec_n_keys(s); i++) {
        const char *key = spec_key(s, i);
        if (c->no_vocabulary && strncmp(key, "tokenizer.", 10) == 0) continue;
        if (c->key && strcmp(key, c->key) == 0) changed = true;
        else put_pair(g, json_array_get(s->metadata, i));
        if (!c->key || strcmp(key, c->key) != 0 || c->drop_key) continue;
        gguf_key(g, c->key, c->kind);
        put_raw(&g->out, c->value, c->value_size);
    }
    if (!c->key || changed || c->drop_key) return;
    gguf_key(g, c->key, c->kind);
    put_raw(&g->out, c->value, c->value_size);
}

static void put_tensor(gguf *g, const tensor *t, const spec_change *c) {
    bool changed = c->tensor && strcmp(c->tensor, t->name) == 0;
    if (changed && c->drop_tensor) return;
    put_zeros(&g->data, (0 - g->data.size) % g->alignment);
    if (changed && c->n_dims) {
        gguf_info(g, t->name, c->n_dims, c->dims, c->type, g->data.size);
        put_zeros(&g->data, c->n_bytes);
    } else {
        gguf_info(g, t->name, t->n_dims, t->dims, 0, g->data.size);
        put_raw(&g->data, t->data, t->n * sizeof(float));
    }
}

bytes spec_file(const spec *s, const spec_change *change) {
    static const spec_change none;
    const spec_change *c = change ? change : &none;
    gguf g;
    gguf_begin(&g, 3);
    put_metadata(&g, s, c);
    for (size_t i = 0; i < s->n_tensors; i++) put_tensor(&g, &s->tensors[i], c);
    gguf_finish(&g);
    bytes out = g.out;
    g.out = (bytes){0};
    gguf_free(&g);
    return out;
}

/* ---- what is expected ---------------------------------------------------------------------------------------------- */

golden_logits golden_logits_read(const char *name) {
    golden_logits g = {0};
    g.file.data = golden_read(&g.file.size, "models/%s.bin", name);
    memcpy(&g.n, g.file.data, 4);
    memcpy(&g.n_vocab, g.file.data + 4, 4);
    g.tokens = (int32_t *)(void *)(g.file.data + 8);
    g.logits = (float *)(void *)(g.file.data + 8 + 4 * (size_t)g.n);
    if (g.file.size != 8 + 4 * (size_t)g.n * (1 + (size_t)g.n_vocab)) die("a golden of another size");
    return g;
}

double nmse(const float *a, const float *b, size_t n) {
    double difference = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        all += (double)b[i] * (double)b[i];
    }
    return difference / all;
}
