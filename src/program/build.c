/* SPDX-License-Identifier: MIT */
/* The builder: metadata, weights and steps, with errors that stick. Output shapes come from the signatures of ops.def. */
#include "program/program.h"

#include "file/file.h"

#include <stdio.h>

void kq_builder_fail(kq_builder *b, kq_status status, const char *format, ...) {
    if (b->status) return;
    char text[sizeof b->err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    b->status = kq_fail_at(b->err, status, b->file ? kq_gguf_path(b->file) : "", KQ_NO_OFFSET, "%s", text);
}

/* Notes the result of a call that has filled b->err. */
static bool passed(kq_builder *b, kq_status status) {
    if (status && !b->status) b->status = status;
    return status == KQ_OK;
}

/* ---- metadata ------------------------------------------------------------------------------------------------------ */

enum { KEY_MAX = 128 };

static const char *full_key(const kq_builder *b, const char *key, char out[KEY_MAX]) {
    snprintf(out, KEY_MAX, "%s.%s", b->prefix, key); /* prefixes are ours (archs.def), keys too: both short */
    return out;
}

bool kq_key_exists(kq_builder *b, const char *key) {
    char k[KEY_MAX];
    return !b->status && kq_gguf_find(b->file, full_key(b, key, k)) != NULL;
}

uint64_t kq_key_u64(kq_builder *b, const char *key, uint64_t min, uint64_t max) {
    char k[KEY_MAX];
    uint64_t v = min;
    if (b->status || !passed(b, kq_gguf_get_u64(b->file, full_key(b, key, k), min, max, &v, b->err))) return min;
    return v;
}

uint64_t kq_key_u64_or(kq_builder *b, const char *key, uint64_t fallback, uint64_t min, uint64_t max) {
    return kq_key_exists(b, key) ? kq_key_u64(b, key, min, max) : fallback;
}

bool kq_key_is_list(kq_builder *b, const char *key) {
    char k[KEY_MAX];
    const kq_gguf_value *v = kq_key_exists(b, key) ? kq_gguf_find(b->file, full_key(b, key, k)) : NULL;
    return v && v->kind == KQ_GGUF_ARRAY;
}

uint64_t kq_key_layer(kq_builder *b, const char *key, uint64_t min, uint64_t max) {
    if (!kq_key_is_list(b, key)) return kq_key_u64(b, key, min, max);
    char k[KEY_MAX];
    const kq_gguf_value *v = kq_gguf_find(b->file, full_key(b, key, k));
    int64_t n;
    if (b->layer >= v->count) {
        kq_builder_fail(b, KQ_E_MODEL, "%s has %llu values, none for layer %u", k, (unsigned long long)v->count, b->layer);
    } else if (!kq_gguf_element_i64(v, b->layer, &n)) {
        kq_builder_fail(b, KQ_E_MODEL, "%s is no list of integers", k);
    } else if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
        kq_builder_fail(b, KQ_E_MODEL, "%s of layer %u is %lld, not in %llu to %llu", k, b->layer, (long long)n, (unsigned long long)min,
                        (unsigned long long)max);
    } else {
        return (uint64_t)n;
    }
    return min;
}

uint64_t kq_key_layer_or(kq_builder *b, const char *key, uint64_t fallback, uint64_t min, uint64_t max) {
    return kq_key_exists(b, key) ? kq_key_layer(b, key, min, max) : fallback;
}

double kq_key_f64(kq_builder *b, const char *key, double min, double max) {
    char k[KEY_MAX];
    float v;
    if (b->status || !passed(b, kq_gguf_get_f32(b->file, full_key(b, key, k), &v, b->err))) return min;
    if ((double)v >= min && (double)v <= max) return (double)v;
    kq_builder_fail(b, KQ_E_MODEL, "%s is %g, not in %g to %g", k, (double)v, min, max);
    return min;
}

double kq_key_f64_or(kq_builder *b, const char *key, double fallback, double min, double max) {
    return kq_key_exists(b, key) ? kq_key_f64(b, key, min, max) : fallback;
}

bool kq_key_bool_or(kq_builder *b, const char *key, bool fallback) {
    char k[KEY_MAX];
    bool v = fallback;
    if (b->status || !passed(b, kq_gguf_get_bool_or(b->file, full_key(b, key, k), fallback, &v, b->err))) return fallback;
    return v;
}

kq_string kq_key_string_or(kq_builder *b, const char *key, const char *fallback) {
    char k[KEY_MAX];
    kq_string v;
    if (b->status || !passed(b, kq_gguf_get_string_or(b->file, full_key(b, key, k), fallback, &v, b->err))) {
        return (kq_string){fallback, strlen(fallback)};
    }
    return v;
}

/* ---- slots --------------------------------------------------------------------------------------------------------- */

static kq_ref add_slot(kq_builder *b, const kq_slot *slot) {
    kq_program *p = b->program;
    if (b->status) return 0;
    if (p->n_slots >= KQ_MAX_SLOTS) {
        kq_builder_fail(b, KQ_E_LIMIT, "the program has more than %d slots", KQ_MAX_SLOTS);
        return 0;
    }
    if (!kq_grow(&p->arena.allocator, &p->slots, &p->slots_capacity, p->n_slots + 1, sizeof *slot)) {
        b->status = kq_fail_memory(b->err, (p->n_slots + 1) * sizeof *slot, "a program");
        return 0;
    }
    p->slots[p->n_slots] = *slot;
    return (kq_ref)p->n_slots++;
}

/* A name, formatted, in the arena. */
static const char *name_of(kq_builder *b, const char *format, va_list args) {
    char text[KQ_GGUF_MAX_NAME + 1];
    vsnprintf(text, sizeof text, format, args);
    char *copy = b->status ? NULL : kq_arena_string(&b->program->arena, text, strlen(text));
    if (!copy && !b->status) b->status = kq_fail_memory(b->err, strlen(text), "a program");
    return copy;
}

/* NVFP4 files keep a second scale beside a tensor: without it the weights would be wrong. */
static bool refuse_scale(kq_builder *b, const char *name) {
    char scale[KQ_GGUF_MAX_NAME + 8];
    size_t n = strlen(name), tail = strlen(".weight");
    if (n < tail || strcmp(name + n - tail, ".weight") != 0) return true;
    snprintf(scale, sizeof scale, "%.*s.scale", (int)(n - tail), name);
    if (!kq_gguf_tensor_find(b->file, scale)) return true;
    kq_builder_fail(b, KQ_E_UNSUPPORTED, "%s: scales beside a tensor are not supported", scale);
    return false;
}

/* Writes a shape in the file's order, the columns first: "256 x 384". */
static const char *show_dims(const uint64_t *dims, uint32_t n, char out[96]) {
    size_t at = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < n && at < 96; i++) {
        int wrote = snprintf(out + at, 96 - at, i ? " x %llu" : "%llu", (unsigned long long)dims[i]);
        if (wrote > 0) at += (size_t)wrote;
    }
    return out;
}

kq_ref kq_weight(kq_builder *b, uint32_t codec, const void *data, uint64_t bytes, uint32_t n_dims, const uint64_t *dims, const char *name) {
    kq_slot s = {.kind = KQ_SLOT_WEIGHT, .type = KQ_T_WEIGHT, .n_dims = (uint8_t)n_dims, .codec = codec, .data = data, .bytes = bytes,
                 .alias = KQ_NO_SLOT, .name = name};
    for (uint32_t i = 0; i < n_dims; i++) s.dims[i] = (kq_dim)dims[i];
    return add_slot(b, &s);
}

/* dims: outermost first. A tensor of a file has leading ones that do not count. */
static kq_ref add_weight(kq_builder *b, const char *name, const uint64_t *dims, uint32_t n, bool vector) {
    if (b->status || !name) return 0;
    const kq_gguf_tensor *t = kq_gguf_tensor_find(b->file, name);
    if (!t) {
        kq_builder_fail(b, KQ_E_MODEL, "tensor %s is missing", name);
        return 0;
    }
    uint64_t want[4] = {1, 1, 1, 1}; /* in the file's order */
    for (uint32_t i = 0; i < n; i++) want[i] = dims[n - 1 - i];
    if (memcmp(want, t->dims, sizeof want) != 0) {
        char have_text[96], want_text[96];
        kq_builder_fail(b, KQ_E_MODEL, "tensor %s is %s, should be %s", name, show_dims(t->dims, t->n_dims, have_text),
                        show_dims(want, n, want_text));
        return 0;
    }
    const kq_codec_info *codec = kq_codec_describe(t->codec);
    if (!codec || !codec->decodes || (vector && t->codec != KQ_F32)) {
        kq_builder_fail(b, KQ_E_UNSUPPORTED, "tensor %s is in %s, which %s", name, codec ? codec->label : "an unknown type",
                        vector ? "must be F32" : "holds no weights");
        return 0;
    }
    if (!refuse_scale(b, name)) return 0;
    return kq_weight(b, t->codec, t->data, t->bytes, n, dims, name);
}

static kq_ref with_role(kq_builder *b, kq_role role, kq_ref w) {
    if (!b->status) b->program->slots[w].role = (uint8_t)role;
    return w;
}

#define FORMAT_NAME(name, format)                     \
    const char *name;                                 \
    do {                                              \
        va_list args_;                                \
        va_start(args_, format);                      \
        name = name_of(b, format, args_);             \
        va_end(args_);                                \
    } while (0)

kq_ref kq_vector(kq_builder *b, uint64_t n, const char *format, ...) {
    FORMAT_NAME(name, format);
    return add_weight(b, name, &n, 1, true);
}

kq_ref kq_vector_or_none(kq_builder *b, uint64_t n, const char *format, ...) {
    FORMAT_NAME(name, format);
    if (!name || !kq_gguf_tensor_find(b->file, name)) return KQ_NO_SLOT;
    return add_weight(b, name, &n, 1, true);
}

kq_ref kq_matrix(kq_builder *b, kq_role role, uint64_t rows, uint64_t columns, const char *format, ...) {
    FORMAT_NAME(name, format);
    return with_role(b, role, add_weight(b, name, (uint64_t[]){rows, columns}, 2, false));
}

kq_ref kq_experts(kq_builder *b, kq_role role, uint64_t n, uint64_t rows, uint64_t columns, const char *format, ...) {
    FORMAT_NAME(name, format);
    return with_role(b, role, add_weight(b, name, (uint64_t[]){n, rows, columns}, 3, false));
}

bool kq_tensor_exists(kq_builder *b, const char *format, ...) {
    char text[KQ_GGUF_MAX_NAME + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return !b->status && kq_gguf_tensor_find(b->file, text) != NULL;
}

kq_ref kq_state(kq_builder *b, uint64_t heads, uint64_t width, const char *format, ...) {
    FORMAT_NAME(name, format);
    return add_slot(b, &(kq_slot){.kind = KQ_SLOT_STATE, .type = KQ_T_STATE, .n_dims = 3, .dims = {KQ_SYM_S, (kq_dim)heads, (kq_dim)width},
                                  .alias = KQ_NO_SLOT, .name = name});
}

kq_ref kq_input(kq_builder *b, kq_dim n, kq_dim limit, const char *name) {
    return add_slot(b, &(kq_slot){.kind = KQ_SLOT_INPUT, .type = KQ_T_I32, .n_dims = 1, .dims = {n}, .limit = limit, .alias = KQ_NO_SLOT,
                                  .name = name});
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

/* Adds a step; `out` brings what the signature cannot tell (the dims of reshape, the letter `free_letter` of router_pick). */
static kq_ref add_step(kq_builder *b, kq_op op, const kq_step *given, const kq_slot *shape, char free_letter, kq_dim free_dim) {
    if (b->status) return 0;
    kq_program *p = b->program;
    kq_signature s;
    kq_signature_read(op, &s);
    kq_step step = *given;
    step.op = (uint16_t)op;
    step.layer = b->layer;
    for (size_t i = s.n_in; i < KQ_MAX_INPUTS; i++) step.in[i] = KQ_NO_SLOT;
    kq_binding binding = {0};
    if (free_letter) binding.letter[free_letter - 'A'] = free_dim;
    for (size_t i = 0; i < s.n_in; i++) {
        if (step.in[i] == KQ_NO_SLOT && s.in[i].optional) continue;
        const char *why = step.in[i] < p->n_slots ? kq_bind(&binding, &s.in[i], &p->slots[step.in[i]]) : "is not there";
        if (why) {
            kq_builder_fail(b, KQ_E_PROGRAM, "layer %u, %s: %s %s", b->layer, kq_ops[op].name, s.in[i].name, why);
            return 0;
        }
    }
    kq_slot out = {.kind = KQ_SLOT_TEMP, .type = s.out.type == 'i' ? KQ_T_I32 : KQ_T_F32, .alias = KQ_NO_SLOT, .name = ""};
    if (shape) out = *shape;
    else if (s.out.type != 's' && !kq_infer(&binding, &s.out, &out)) {
        kq_builder_fail(b, KQ_E_PROGRAM, "layer %u, %s: the result has no shape", b->layer, kq_ops[op].name);
        return 0;
    }
    if (p->n_steps >= KQ_MAX_STEPS) {
        kq_builder_fail(b, KQ_E_LIMIT, "the program has more than %d steps", KQ_MAX_STEPS);
        return 0;
    }
    if (s.out.type != 's') step.out = add_slot(b, &out);
    if (b->status) return 0;
    if (!kq_grow(&p->arena.allocator, &p->steps, &p->steps_capacity, p->n_steps + 1, sizeof step)) {
        b->status = kq_fail_memory(b->err, (p->n_steps + 1) * sizeof step, "a program");
        return 0;
    }
    p->steps[p->n_steps++] = step;
    return step.out;
}

static kq_ref simple(kq_builder *b, kq_op op, const kq_step *step) { return add_step(b, op, step, NULL, 0, 0); }

kq_ref kq_look_up(kq_builder *b, kq_ref w, kq_ref ids, double scale) {
    return simple(b, KQ_OP_embed, &(kq_step){.in = {w, ids}, .attr = {{.f = scale}}});
}

kq_ref kq_linear(kq_builder *b, kq_ref w, kq_ref x, kq_ref bias) {
    return simple(b, KQ_OP_linear, &(kq_step){.in = {w, x, bias}});
}

kq_ref kq_linear_gather(kq_builder *b, kq_ref w, kq_ref x, kq_ref idx) {
    return simple(b, KQ_OP_linear_gather, &(kq_step){.in = {w, x, idx}});
}

kq_ref kq_rms_norm(kq_builder *b, kq_ref x, kq_ref w, double eps) {
    return simple(b, KQ_OP_rms_norm, &(kq_step){.in = {x, w}, .attr = {{.f = eps}}});
}

kq_ref kq_rope(kq_builder *b, kq_ref x, const kq_rope_how *how) {
    return simple(b, KQ_OP_rope, &(kq_step){.in = {x, b->positions, how->factors},
                                            .attr = {{.i = (int64_t)how->n_rot}, {.i = how->style}, {.f = how->base}, {.f = how->scale}}});
}

void kq_cache_write(kq_builder *b, kq_ref x, kq_ref cache) {
    simple(b, KQ_OP_cache_write, &(kq_step){.in = {x, b->positions, cache}, .out = cache});
}

kq_ref kq_attention(kq_builder *b, kq_ref q, kq_ref k, kq_ref v, double scale, uint64_t window) {
    return simple(b, KQ_OP_attention, &(kq_step){.in = {q, k, v, b->positions}, .attr = {{.f = scale}, {.i = (int64_t)window}}});
}

kq_ref kq_sum(kq_builder *b, kq_ref x, kq_ref y) { return simple(b, KQ_OP_add, &(kq_step){.in = {x, y}}); }
kq_ref kq_silu_mul(kq_builder *b, kq_ref x, kq_ref y) { return simple(b, KQ_OP_silu_mul, &(kq_step){.in = {x, y}}); }
kq_ref kq_gelu_mul(kq_builder *b, kq_ref x, kq_ref y) { return simple(b, KQ_OP_gelu_mul, &(kq_step){.in = {x, y}}); }

kq_ref kq_router_pick(kq_builder *b, kq_ref x, uint64_t n_used) {
    return add_step(b, KQ_OP_router_pick, &(kq_step){.in = {x}}, NULL, 'U', (kq_dim)n_used);
}

kq_ref kq_router_weights(kq_builder *b, kq_ref x, kq_ref idx, bool normalise, double scale) {
    return simple(b, KQ_OP_router_weights, &(kq_step){.in = {x, idx}, .attr = {{.i = normalise}, {.f = scale}}});
}

kq_ref kq_combine(kq_builder *b, kq_ref y, kq_ref w) { return simple(b, KQ_OP_combine, &(kq_step){.in = {y, w}}); }
kq_ref kq_pick_rows(kq_builder *b, kq_ref x) { return simple(b, KQ_OP_pick_rows, &(kq_step){.in = {x, b->rows}}); }

kq_ref kq_reshape(kq_builder *b, kq_ref x, uint64_t n, uint64_t m) {
    if (b->status) return 0;
    kq_slot s = {.kind = KQ_SLOT_TEMP, .type = KQ_T_F32, .n_dims = m ? 3 : 2, .dims = {b->program->slots[x].dims[0], (kq_dim)n, (kq_dim)m},
                 .alias = x, .name = ""};
    return add_step(b, KQ_OP_reshape, &(kq_step){.in = {x}}, &s, 0, 0);
}

void kq_output(kq_builder *b, kq_ref x, const char *name) {
    if (b->status) return;
    b->program->slots[x].kind = KQ_SLOT_OUTPUT;
    b->program->slots[x].name = name;
}
