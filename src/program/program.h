/* SPDX-License-Identifier: MIT */
/* program owns: the table of operations (ops.def), programs and their builder, the verifier and the memory plan.
 * It may include: base codec file. */
#ifndef KQ_PROGRAM_H
#define KQ_PROGRAM_H

#include "base/base.h"
#include "codec/codec.h"
#include "program/ops.h"

#include <kquant/file.h>

/* ---- programs ------------------------------------------------------------------------------------------------------ */

enum {
    KQ_MAX_SLOTS = 1 << 20,
    KQ_MAX_STEPS = 1 << 20,
    KQ_MAX_BATCH = 1 << 20,       /* the bound of T and R: no session evaluates more tokens together */
    KQ_MAX_POSITIONS = 1 << 30    /* the bound of S */
};

/* Built once, verified once, then immutable: sessions of any thread share it. Temporaries and outputs are written by exactly one
 * step each, before anything reads them. */
typedef struct kq_program {
    kq_arena arena; /* owns the names */
    kq_slot *slots;
    kq_step *steps;
    size_t n_slots, n_steps, slots_capacity, steps_capacity;
} kq_program;

void kq_program_init(kq_program *p, const kq_allocator *a);
void kq_program_free(kq_program *p);
/* The slot of this kind with this name, or KQ_NO_SLOT. */
uint32_t kq_program_find(const kq_program *p, kq_slot_kind kind, const char *name);

/* Everything that running the program relies on; a program that did not come from our own builder is hostile until then.
 * KQ_E_PROGRAM with the step, its operation and the operand. */
KQ_MUST_CHECK kq_status kq_program_verify(const kq_program *p, kq_error *err);

/* The values of T, R and S, in this order. */
typedef struct kq_symbols {
    int64_t value[KQ_N_SYMBOLS];
} kq_symbols;
static inline int64_t kq_dim_value(kq_dim d, const kq_symbols *s) { return d < 0 ? s->value[-1 - d] : d; }
/* Bytes of a slot of 4-byte elements (of state in f16: half); false on overflow. */
bool kq_slot_bytes(const kq_slot *slot, const kq_symbols *s, uint64_t *bytes);

/* ---- signatures (signature.c) -------------------------------------------------------------------------------------- */

/* One operand of ops.def, read from its text. */
typedef struct kq_operand {
    char name[12];
    char over[12];            /* of an output: the input whose memory it may take, or "" */
    bool optional, any_dims;  /* name?, [..] */
    bool star;                /* starts with * */
    char type;                /* f i w v s */
    char limit;               /* of i: its letter */
    uint8_t n_letters;
    char letters[KQ_MAX_DIMS];
} kq_operand;
typedef struct kq_signature {
    uint8_t n_in, n_attr;
    kq_operand in[KQ_MAX_INPUTS], out;
    struct {
        char name[12];
        bool real;
    } attr[KQ_MAX_ATTRIBUTES];
    const char *conditions;
} kq_signature;
void kq_signature_read(kq_op op, kq_signature *out);

/* What the letters of a signature stand for in one step. */
typedef struct kq_binding {
    kq_dim letter[26]; /* 0 = not bound yet */
    kq_dim star[KQ_MAX_DIMS];
    uint8_t n_star;
    bool star_bound;
} kq_binding;
/* Fits a slot to an operand, binding letters that are free. NULL, or why it does not fit. */
const char *kq_bind(kq_binding *b, const kq_operand *operand, const kq_slot *slot);
/* The other way round: dims (and limit) of an output from the letters. False if a letter is free or there are too many dims. */
bool kq_infer(const kq_binding *b, const kq_operand *operand, kq_slot *slot);
/* NULL, or the text of the condition (not zero-terminated: up to a blank) that does not hold. */
const char *kq_conditions_check(const kq_signature *s, const kq_binding *b, const kq_attribute *attr);

/* ---- builder (build.c) --------------------------------------------------------------------------------------------- */

/* Arch files write programs with it. Errors stick: after the first failure every call does nothing and returns 0, so a family
 * needs no checks: kq_builder.status says at the end. kq_ref is the index of a slot. */
typedef uint32_t kq_ref;

typedef struct kq_builder {
    kq_program *program;
    const kq_gguf *file;
    const char *prefix;      /* of metadata keys: the architecture */
    uint16_t layer;          /* the family counts it up; noted in every step */
    kq_status status;        /* the first failure */
    kq_error *err;
    kq_ref tokens, positions, rows; /* the inputs i<n_vocab[T], i<S[T], i<T[R] */
} kq_builder;

/* A failure of the model's making: notes it unless there is one already. */
void kq_builder_fail(kq_builder *b, kq_status status, const char *format, ...) __attribute__((format(printf, 3, 4), cold));

/* Metadata: the key is "<prefix>.<key>". A missing key without fallback, a wrong kind or a value out of range fails. */
uint64_t kq_key_u64(kq_builder *b, const char *key, uint64_t min, uint64_t max);
uint64_t kq_key_u64_or(kq_builder *b, const char *key, uint64_t fallback, uint64_t min, uint64_t max);
/* Of layer b->layer, from a key that may be one number or a list with one a layer. */
uint64_t kq_key_layer(kq_builder *b, const char *key, uint64_t min, uint64_t max);
uint64_t kq_key_layer_or(kq_builder *b, const char *key, uint64_t fallback, uint64_t min, uint64_t max);
bool kq_key_is_list(kq_builder *b, const char *key);
double kq_key_f64(kq_builder *b, const char *key, double min, double max);
double kq_key_f64_or(kq_builder *b, const char *key, double fallback, double min, double max);
bool kq_key_bool_or(kq_builder *b, const char *key, bool fallback);
kq_string kq_key_string_or(kq_builder *b, const char *key, const char *fallback);
bool kq_key_exists(kq_builder *b, const char *key);

/* A weight slot over any bytes; dims outermost first. `name` lives as long as the program. */
kq_ref kq_weight(kq_builder *b, uint32_t codec, const void *data, uint64_t bytes, uint32_t n_dims, const uint64_t *dims, const char *name);
/* Weights of the file, by role (vectors have none), shape and name. A missing tensor, another shape or a codec that does not decode fails
 * with the name. */
kq_ref kq_vector(kq_builder *b, uint64_t n, const char *name, ...) __attribute__((format(printf, 3, 4)));
kq_ref kq_matrix(kq_builder *b, kq_role role, uint64_t rows, uint64_t columns, const char *name, ...) __attribute__((format(printf, 5, 6)));
kq_ref kq_experts(kq_builder *b, kq_role role, uint64_t n, uint64_t rows, uint64_t columns, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
/* KQ_NO_SLOT when the file has no such tensor. */
kq_ref kq_vector_or_none(kq_builder *b, uint64_t n, const char *name, ...) __attribute__((format(printf, 3, 4)));
bool kq_tensor_exists(kq_builder *b, const char *name, ...) __attribute__((format(printf, 2, 3)));

/* An input of indices [n], all in [0, limit). `name` is a literal. */
kq_ref kq_input(kq_builder *b, kq_dim n, kq_dim limit, const char *name);
/* State [S, heads, width], kept by the session. */
kq_ref kq_state(kq_builder *b, uint64_t heads, uint64_t width, const char *name, ...) __attribute__((format(printf, 4, 5)));

/* Steps; see ops.def for what they do. */
kq_ref kq_look_up(kq_builder *b, kq_ref w, kq_ref ids, double scale);
kq_ref kq_linear(kq_builder *b, kq_ref w, kq_ref x, kq_ref bias);
kq_ref kq_linear_gather(kq_builder *b, kq_ref w, kq_ref x, kq_ref idx);
kq_ref kq_rms_norm(kq_builder *b, kq_ref x, kq_ref w, double eps);
typedef struct kq_rope_how {
    uint64_t n_rot;
    int style;            /* 0: pairs (2i, 2i+1); 1: pairs (i, i + n_rot/2) */
    double base, scale;
    kq_ref factors;       /* KQ_NO_SLOT: none */
} kq_rope_how;
kq_ref kq_rope(kq_builder *b, kq_ref x, const kq_rope_how *how);
void kq_cache_write(kq_builder *b, kq_ref x, kq_ref cache);
kq_ref kq_attention(kq_builder *b, kq_ref q, kq_ref k, kq_ref v, double scale, uint64_t window);
kq_ref kq_sum(kq_builder *b, kq_ref x, kq_ref y);
kq_ref kq_silu_mul(kq_builder *b, kq_ref x, kq_ref y);
kq_ref kq_gelu_mul(kq_builder *b, kq_ref x, kq_ref y);
kq_ref kq_router_pick(kq_builder *b, kq_ref x, uint64_t n_used);
kq_ref kq_router_weights(kq_builder *b, kq_ref x, kq_ref idx, bool normalise, double scale);
kq_ref kq_combine(kq_builder *b, kq_ref y, kq_ref w);
kq_ref kq_pick_rows(kq_builder *b, kq_ref x);
/* The first dimension stays; the rest becomes [n] (m = 0) or [n, m]. */
kq_ref kq_reshape(kq_builder *b, kq_ref x, uint64_t n, uint64_t m);
/* Makes x, a temporary that nothing reads, the program's output of this name. */
void kq_output(kq_builder *b, kq_ref x, const char *name);

/* ---- plan (plan.c) ------------------------------------------------------------------------------------------------- */

/* Where temporaries lie in one arena, for symbols at their largest. */
typedef struct kq_plan {
    uint64_t *offset; /* of every slot; KQ_NO_OFFSET for one that is no temporary. Multiples of 64 */
    uint64_t bytes;   /* of the arena */
} kq_plan;
/* KQ_E_MEMORY; KQ_E_LIMIT when the sizes overflow. */
KQ_MUST_CHECK kq_status kq_plan_make(kq_plan *out, const kq_program *p, const kq_symbols *largest, const kq_allocator *a, kq_error *err);
void kq_plan_free(kq_plan *plan, const kq_allocator *a);

#endif
