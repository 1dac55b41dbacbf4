/* SPDX-License-Identifier: MIT */
/* The part of program that backends see too: slots, steps, and the table of operations (ops.def).
 *
 * A program is a flat list of steps over slots. A slot is a tensor: row-major, outermost dimension first, at most 4
 * dimensions, each a number or a symbol that gets its value when the program runs. */
#ifndef KQ_PROGRAM_OPS_H
#define KQ_PROGRAM_OPS_H

#include "codec/codec.h"

enum {
    KQ_MAX_DIMS = 4,
    KQ_MAX_INPUTS = 6,
    KQ_MAX_ATTRIBUTES = 8
};

/* A dimension: a number (> 0), or one of these symbols. */
typedef int64_t kq_dim;
enum {
    KQ_SYM_T = -1, /* tokens in this batch */
    KQ_SYM_R = -2, /* rows whose logits are wanted, R <= T */
    KQ_SYM_S = -3, /* positions in the cache: the sequence's capacity */
    KQ_N_SYMBOLS = 3
};

typedef enum kq_slot_kind {
    KQ_SLOT_NONE = 0,
    KQ_SLOT_WEIGHT, /* a view into a file, in a codec; dims [.., rows, columns] */
    KQ_SLOT_INPUT,  /* given by the caller for every run */
    KQ_SLOT_STATE,  /* kept between runs: KV cache */
    KQ_SLOT_TEMP,   /* lives in the arena between its first and last use */
    KQ_SLOT_OUTPUT  /* read by the caller after a run */
} kq_slot_kind;

/* What the elements of a slot are. Weights have a codec besides. */
typedef enum kq_type { KQ_T_F32 = 0, KQ_T_I32 = 1, KQ_T_STATE = 2 /* f16 or f32, as the session chose */, KQ_T_WEIGHT = 3 } kq_type;

/* What a matrix is for (roles.def). */
typedef enum kq_role {
    KQ_ROLE_NONE, /* vectors, and slots that are no weights */
#define KQ_ROLE(name) KQ_ROLE_##name,
#include "program/roles.def"
    KQ_N_ROLES
} kq_role;
/* "attn_v"; "" of KQ_ROLE_NONE. */
extern const char *const kq_role_names[KQ_N_ROLES];

typedef struct kq_slot {
    uint8_t kind;      /* kq_slot_kind */
    uint8_t type;      /* kq_type */
    uint8_t n_dims;
    uint8_t role;      /* kq_role */
    uint32_t codec;    /* of a weight */
    kq_dim dims[KQ_MAX_DIMS];
    kq_dim limit;      /* of I32: every value is in [0, limit). Whoever fills an input keeps this; operations rely on it */
    const void *data;  /* of a weight: in the mapping */
    uint64_t bytes;    /* of a weight */
    uint32_t alias;    /* of a temporary made by reshape: the slot whose memory it shares; KQ_NO_SLOT otherwise */
    const char *name;  /* of a weight, input, state, output: for messages; else "" */
} kq_slot;

/* The operations. Rows and shape signatures are in ops.def. */
typedef enum kq_op {
#define KQ_OP(name, signature, attributes) KQ_OP_##name,
#include "program/ops.def"
    KQ_N_OPS
} kq_op;

typedef union kq_attribute {
    int64_t i;
    double f;
} kq_attribute;

#define KQ_NO_SLOT UINT32_MAX

typedef struct kq_step {
    uint16_t op;
    uint16_t layer;                /* for messages and profiles */
    uint32_t in[KQ_MAX_INPUTS];    /* slots, KQ_NO_SLOT for an optional one that is absent */
    uint32_t out;                  /* slot */
    kq_attribute attr[KQ_MAX_ATTRIBUTES];
} kq_step;

typedef struct kq_op_info {
    const char *name;
    const char *signature;  /* see ops.def */
    const char *attributes; /* "name:i name:f ...; conditions", in the order of attr */
} kq_op_info;
extern const kq_op_info kq_ops[KQ_N_OPS];

#endif
