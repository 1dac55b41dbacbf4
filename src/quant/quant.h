/* SPDX-License-Identifier: MIT */
/* quant owns: the plan of a quantised model (types with llama.cpp's rules, presets, recipes, targets), its streaming maker, calibration,
 * perplexity and divergence, verification.
 * It may include: all rooms above it. */
#ifndef KQ_QUANT_H
#define KQ_QUANT_H

#include "base/base.h"
#include "codec/codec.h"
#include "file/file.h"
#include "program/ops.h"

#include <kquant/quant.h>

/* ---- patterns (pattern.c) ------------------------------------------------------------------------------------------ */

/* NULL when the glob is well-formed, else what is wrong with it. */
const char *kq_glob_check(const char *glob);
/* Whether the whole text (at most KQ_GGUF_MAX_NAME bytes) matches a well-formed glob. Time is linear in both. */
bool kq_glob_matches(const char *glob, const char *text);

/* ---- names (types.c) ----------------------------------------------------------------------------------------------- */

/* What llama.cpp's rules see in a tensor's name; the first that fits. */
typedef enum kq_name_class {
    KQ_CLASS_OTHER, KQ_CLASS_OUTPUT, KQ_CLASS_EMBEDDING, KQ_CLASS_QKV, KQ_CLASS_KV_B, KQ_CLASS_V, KQ_CLASS_K, KQ_CLASS_Q, KQ_CLASS_ATTN_OUTPUT,
    KQ_CLASS_UP, KQ_CLASS_GATE, KQ_CLASS_DOWN
} kq_name_class;
kq_name_class kq_name_classify(const char *name);
/* NULL when llama.cpp would quantise a tensor of this name and shape, else why it never does. */
const char *kq_never_quantised(const kq_gguf_tensor *t);
/* N of blk.N.*, or -1. */
int64_t kq_name_layer(const char *name);
/* The codec of 32 that stands in where the blocks of `codec` do not divide the rows, or f16 where its do not either. False when there
 * is none (q1_0, nvfp4). `codec` itself where they do. */
bool kq_fallback(kq_codec codec, uint64_t columns, kq_codec *out);
/* Equal but for the case of ASCII letters. */
bool kq_same_name(const char *a, const char *b);
/* The general.file_type whose tensors are mostly of this codec. */
uint32_t kq_file_type_of(kq_codec codec);

/* ---- llama.cpp's mixtures (mixture.c) ------------------------------------------------------------------------------ */

/* Chooses a codec for one tensor after the other, in the order of the output: its counters decide which layers get more bits. */
typedef struct kq_mixture {
    const kq_gguf *g;
    const kq_quant_type *type;
    kq_string architecture;
    uint64_t n_layer, gqa, n_expert;
    bool tied, falcon, is_70b, has_imatrix;
    uint64_t n_v;                /* tensors like attn_v */
    uint64_t v, down, gate, up;  /* how many have been met */
} kq_mixture;
kq_status kq_mixture_init(kq_mixture *m, const kq_gguf *g, const kq_quant_type *type, bool has_imatrix, kq_error *err);
kq_status kq_mixture_choose(kq_mixture *m, const kq_gguf_tensor *t, kq_codec *out, kq_error *err);
/* Layers that mixtures give more bits: the first and last eighth, and every third between. */
static inline bool kq_more_bits(uint64_t i, uint64_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

/* ---- roles (roles.c) ----------------------------------------------------------------------------------------------- */

/* roles[i], zeroed before, gets bit r when tensor i of g has role r. Fails where the family is not known or does not fit the file. */
kq_status kq_roles_read(uint64_t *roles, const kq_gguf *g, const kq_allocator *a, kq_error *err);

/* ---- recipes (recipe.c) -------------------------------------------------------------------------------------------- */

/* A tensor that may be quantised, as rules see it. */
typedef struct kq_subject {
    const kq_gguf_tensor *tensor;
    int64_t layer;  /* -1: none */
    uint64_t roles; /* bit r: it has role r */
} kq_subject;

typedef struct kq_rule {
    const char *text;   /* what stands before the = */
    const char *glob;   /* over names; NULL: by role */
    uint64_t roles;
    const char *layers; /* a glob over their numbers, or NULL */
    bool more_bits;     /* only where kq_more_bits holds */
    bool named;         /* the glob is more than stars */
    bool keep;
    bool met;           /* a subject matches */
    kq_codec codec;     /* unless keep */
    uint32_t line;
} kq_rule;
/* From what stands on the two sides of the =. `anywhere`: the glob may match any part of the name. `what` begins errors. */
kq_status kq_rule_read(kq_rule *rule, kq_arena *arena, const char *left, const char *codec, bool anywhere, const char *what, kq_error *err);
bool kq_rule_matches(const kq_rule *rule, const kq_subject *s, uint64_t n_layer);
/* A codec that encodes, by name. */
kq_status kq_codec_read(const char *name, const char *what, kq_codec *out, kq_error *err);

typedef struct kq_recipe {
    const char *name; /* of its file, for errors */
    kq_rule *rules;   /* kq_free */
    size_t n_rules;
    bool by_role;     /* a rule speaks of roles */
} kq_recipe;
/* After a failure too, kq_recipe.rules is to be freed. */
kq_status kq_recipe_read(kq_recipe *r, kq_arena *arena, const char *text, const char *name, kq_error *err);
/* Puts the recipe's file into a failure's error. */
kq_status kq_recipe_named(const kq_recipe *r, kq_status status, kq_error *err);
/* The rule that decides, NULL when none matches. *named: one that matches goes by more of the name than stars. */
const kq_rule *kq_recipe_choose(kq_recipe *r, const kq_subject *s, uint64_t n_layer, bool *named);
/* Fails with the line of a rule that no subject has matched. */
kq_status kq_recipe_check_met(const kq_recipe *r, kq_error *err);

/* ---- the plan (plan.c) --------------------------------------------------------------------------------------------- */

struct kq_quant_plan {
    kq_allocator allocator;
    kq_arena arena; /* texts */
    const kq_gguf *source;
    const kq_imatrix *imatrix;
    kq_quant_choice *choices;
    size_t n_choices;
    kq_gguf_value *values; /* of the output */
    size_t n_values;
    uint32_t file_type;
    uint64_t tensor_bytes, file_bytes, weights;
};

/* The output's metadata, but for the file type (output.c). */
kq_status kq_quant_plan_values_make(kq_quant_plan *p, const kq_quant_plan_options *o, kq_error *err);
/* Bytes before the first tensor's data, and what every tensor's data begins at a multiple of. Needs the metadata. */
kq_status kq_quant_plan_head(const kq_quant_plan *p, uint64_t *bytes, uint64_t *alignment, kq_error *err);
/* The file type and the sizes of it all, once the choices stand. */
kq_status kq_quant_plan_finish(kq_quant_plan *p, kq_error *err);

/* ---- targets (measure.c, target.c) --------------------------------------------------------------------------------- */

typedef struct kq_measure {
    kq_allocator allocator;
    const kq_gguf *g;
    const kq_imatrix *imatrix;
    kq_pool *pool;
} kq_measure;
/* errors[i]: squared error over squared weights of a sample of rows in codecs[i]; infinite where its encoder cannot do it. `weighted`:
 * with importances. No more memory than a few MiB or a few rows for each thread, besides the importances. */
kq_status kq_measure_tensor(const kq_measure *m, const kq_gguf_tensor *t, bool weighted, const kq_codec *codecs, size_t n, double *errors,
                            kq_error *err);

typedef struct kq_target_item {
    const kq_gguf_tensor *tensor; /* holds weights */
    uint64_t roles;
    size_t choice;                /* its index in the plan */
    bool weighted;
    kq_codec codec;               /* what was chosen, */
    double error, counted;        /* its error, and how often it counts, */
    kq_codec next;                /* what would have come next, */
    double next_error;
    uint64_t next_bytes;          /* for so many more; 0: nothing has less error */
    const char *reason;
} kq_target_item;
typedef struct kq_target {
    kq_measure measure;
    kq_arena *arena;    /* for reasons */
    uint64_t n_layer;
    uint64_t limit;     /* bytes in all, of which what is settled takes `used` */
    uint64_t used;
    uint64_t weights;   /* of all tensors, for a target of `bpw` bits a weight; 0: the target is a size */
    double bpw;
    uint64_t alignment; /* of what each takes */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, const char *tensor);
    void *progress_ctx;
} kq_target;
kq_status kq_target_choose(const kq_target *target, kq_target_item *items, size_t n, kq_error *err);

#endif
