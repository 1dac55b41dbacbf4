/* SPDX-License-Identifier: MIT */
/* Making quantised models: the plan, which says what codec each tensor becomes and why, before a byte is encoded.
 *
 * A plan begins with exactly one of
 *   type    llama.cpp's names (Q4_K_M, IQ2_XXS, Q8_0, F16, COPY ...; kq_quant_type_at lists them), in any case, with llama.cpp's rules for
 *           each tensor, so that the output has the bytes of its quantiser. These rules go by the tensors' names: any GGUF will do.
 *   preset  a recipe that comes with the library (kq_preset_at lists them); these go by the tensors' roles in the model.
 *   recipe  the text of one; docs/recipes.md has its syntax.
 *   target  target_bpw or target_bytes alone: codecs are chosen by the error that they are measured to make.
 * Then, for the tensors that may be quantised at all (vectors, norms, routers and the like never are), in rising precedence: what the
 * type, preset, recipe or target says; the last override that matches; output_codec and embedding_codec. Where a codec's blocks do not divide
 * a tensor's rows, the codec of 32 that llama.cpp takes stands in, or f16; the choice says so. */
#ifndef KQUANT_QUANT_H
#define KQUANT_QUANT_H

#include <kquant/codec.h>
#include <kquant/core.h>
#include <kquant/file.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what there is ------------------------------------------------------------------------------------------------ */

typedef struct kq_quant_type {
    const char *name;     /* "Q4_K_M", as llama.cpp spells it */
    uint32_t file_type;   /* general.file_type */
    kq_codec codec;       /* of most tensors */
    bool needs_imatrix;   /* some tensors of every model need importances */
} kq_quant_type;
/* llama.cpp's types, smallest first; NULL beyond the end. */
KQ_API const kq_quant_type *kq_quant_type_at(size_t i);
/* By name, in any case; aliases too (Q4_K is Q4_K_M). NULL when there is none. */
KQ_API const kq_quant_type *kq_quant_type_find(const char *name);

typedef struct kq_preset {
    const char *name;     /* "q4_k_m" */
    const char *summary;  /* one line */
    const char *recipe;   /* its text: given back as a recipe it makes the same plan */
} kq_preset;
/* Smallest first; NULL beyond the end. They are mlx-kquant's, by role instead of by name of module. */
KQ_API const kq_preset *kq_preset_at(size_t i);
/* By name, in any case. NULL when there is none. */
KQ_API const kq_preset *kq_preset_find(const char *name);

/* ---- the plan ----------------------------------------------------------------------------------------------------- */

/* `pattern` becomes `codec`. The pattern is one of a recipe, but found anywhere in the name, as llama.cpp's are: attn_v means *attn_v*.
 * One that no quantisable tensor matches is an error. */
typedef struct kq_quant_override {
    const char *pattern;
    const char *codec; /* "q6_k", in any case; "keep": as in the source */
} kq_quant_override;

typedef struct kq_quant_plan_options {
    size_t struct_size;
    const kq_allocator *allocator;
    const char *type;
    const char *preset;
    const char *recipe;            /* text, any number of lines */
    const char *recipe_name;       /* of the file it came from, for errors; may be NULL */
    double target_bpw;             /* bits a weight, over all tensors of the output; 0: none */
    uint64_t target_bytes;         /* of the whole output file; 0: none */
    const kq_quant_override *overrides;
    size_t n_overrides;
    const char *output_codec;      /* of output.weight, or "keep"; of a tied embedding too, unless embedding_codec says otherwise */
    const char *embedding_codec;   /* of token_embd.weight and per_layer_token_embd.weight */
    bool pure;                     /* with a type: its codec for every tensor that may be quantised */
    bool allow_requantize;         /* tensors of the source that are quantised may become another codec */
    const kq_imatrix *imatrix;     /* lent until kq_quant_plan_close */
    const char *imatrix_name;      /* noted in the output's metadata: the path it came from */
    kq_pool *pool;                 /* for measuring; no choice depends on it */
    /* Called while a target's candidates are measured: done of total units, now at `tensor`. False stops: KQ_E_CANCELLED. */
    bool (*progress)(void *ctx, uint64_t done, uint64_t total, const char *tensor);
    void *progress_ctx;
} kq_quant_plan_options;

typedef struct kq_quant_choice {
    const kq_gguf_tensor *tensor;  /* of the source */
    kq_codec codec;
    kq_codec wanted;               /* what the rules asked for; another than codec where its blocks do not divide the rows */
    bool copied;                   /* the source's bytes are kept */
    bool weighted;                 /* encoded with importances: kq_imatrix_weights(imatrix, name, dims[0], dims[2], ...) */
    uint64_t bytes;                /* of the tensor in the output */
    const char *role;              /* in the model ("attn_v"; "embedding,output" when tied); "" where the family is not known */
    const char *reason;            /* one line */
    double error;                  /* measured for a target: squared error over squared weights, importances counted; else negative */
    double counted;                /* with an error: how often it counts against those of other tensors */
    kq_codec next;                 /* with next_bytes: the codec that would come next, */
    double next_error;             /* its error, */
    uint64_t next_bytes;           /* and what it takes more; 0: nothing has less error */
} kq_quant_choice;

/* Immutable, so threads may share it; borrows `source` until kq_quant_plan_close.
 * KQ_E_ARGUMENT: none or several of type, preset, recipe and target; unknown names; a pattern that matches nothing; a codec that needs
 * importances and has none (the text names the tensor); a target that cannot be met (the text has the smallest size).
 * KQ_E_UNSUPPORTED: quantised source tensors without allow_requantize; a preset for a family that is not known.
 * KQ_E_MODEL: metadata that the rules need are missing; importances of another size; a tensor without a role. KQ_E_MEMORY. */
typedef struct kq_quant_plan kq_quant_plan;
KQ_API KQ_MUST_CHECK kq_status kq_quant_plan_open(kq_quant_plan **out, const kq_gguf *source, const kq_quant_plan_options *options,
                                                  kq_error *err);
KQ_API void kq_quant_plan_close(kq_quant_plan *p);

/* One choice for each tensor of the source, in the order of the output (llama.cpp's: by layer, then by name). */
KQ_API size_t kq_quant_plan_size(const kq_quant_plan *p);
KQ_API const kq_quant_choice *kq_quant_plan_at(const kq_quant_plan *p, size_t i); /* NULL beyond the end */
KQ_API const kq_gguf *kq_quant_plan_source(const kq_quant_plan *p);
KQ_API const kq_imatrix *kq_quant_plan_imatrix(const kq_quant_plan *p); /* NULL without */

/* The output's metadata, in order: the source's without split.*, then general.quantization_version, general.file_type, and of an
 * imatrix quantize.imatrix.file, .dataset, .entries_count and .chunks_count. */
KQ_API size_t kq_quant_plan_n_values(const kq_quant_plan *p);
KQ_API const kq_gguf_value *kq_quant_plan_value_at(const kq_quant_plan *p, size_t i); /* NULL beyond the end */
KQ_API uint32_t kq_quant_plan_file_type(const kq_quant_plan *p);

KQ_API uint64_t kq_quant_plan_tensor_bytes(const kq_quant_plan *p); /* of all tensors, without padding */
KQ_API uint64_t kq_quant_plan_file_bytes(const kq_quant_plan *p);   /* of the GGUF, exactly */
KQ_API double kq_quant_plan_bpw(const kq_quant_plan *p);            /* bits a weight, over all tensors */

/* The plan as a recipe that makes it again: for this model, by names, whatever the plan began with. In pieces, through `put`; returns
 * what `put` returned when it failed. */
KQ_API KQ_MUST_CHECK kq_status kq_quant_plan_recipe(const kq_quant_plan *p,
                                                    kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink,
                                                    kq_error *err);

/* ---- making the model ----------------------------------------------------------------------------------------------- */

typedef enum kq_model_form {
    KQ_FORM_GGUF,       /* one file */
    KQ_FORM_CHECKPOINT  /* a folder of safetensors, as mlx-kquant has them */
} kq_model_form;

typedef struct kq_quantize_report { /* of one tensor that is done */
    const kq_quant_choice *choice;
    size_t index;    /* in the plan */
    double error;    /* as in a choice: 0 where the bytes were copied; negative where it was not measured */
    double seconds;  /* 0 when kept */
    bool kept;       /* a run before this one had made it */
} kq_quantize_report;

typedef struct kq_quantize_model_options {
    size_t struct_size;
    const kq_allocator *allocator;
    kq_pool *pool;            /* NULL: the calling thread. The bytes do not depend on it */
    kq_model_form form;
    uint64_t max_shard_bytes; /* of a checkpoint; 0: 5 GiB */
    bool no_error;            /* the errors are not measured, which saves decoding what was encoded */
    bool anew;                /* what an earlier run left is dropped, instead of taken up */
    /* Called often, with the tensor that is being made: `done` of `total` weights, those of tensors that were kept left out. False
     * stops: KQ_E_CANCELLED. NULL: nobody asks. */
    bool (*progress)(void *ctx, const kq_quant_choice *at, uint64_t done, uint64_t total);
    /* Called for each tensor that is done, in the order of the output. NULL: nobody asks. */
    void (*report)(void *ctx, const kq_quantize_report *report);
    void *ctx;                /* of both */
} kq_quantize_model_options;

/* Makes the model of a plan: the file (or folder) `out`, which appears under its name only when it is complete; an older file (or checkpoint)
 * of that name is replaced then, unless it is the source's (KQ_E_ARGUMENT); a folder of something else is not (KQ_E_IO). Tensors are
 * streamed: memory holds some MB of rows for each thread, or a row where one is larger, whatever the size of the model. The space on the
 * disk is taken first.
 * A run that was cancelled, killed, or ended by KQ_E_IO, KQ_E_MEMORY or KQ_E_SYSTEM leaves what it finished in OUT.kq-part: the same call (same
 * source, plan and version of the library) takes it up and ends in the bytes of a single run. After any other failure nothing is left.
 * A checkpoint has what kq_checkpoint_writer_open writes: of the plan's metadata only what config.json and the tokenizer's files express.
 * options may be NULL. KQ_E_UNSUPPORTED: a checkpoint cannot hold the model. KQ_E_ARGUMENT, KQ_E_IO, KQ_E_MEMORY, KQ_E_CANCELLED;
 * KQ_E_FORMAT: weights that are not finite, or too large for their codec (the text names tensor, row and column); and what reading the
 * source returns. */
KQ_API KQ_MUST_CHECK kq_status kq_quantize_model(const kq_quant_plan *plan, const char *out, const kq_quantize_model_options *options,
                                                 kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
