/* SPDX-License-Identifier: MIT */
/* arch owns: the model families. Each reads its hyper-parameters from metadata and writes the program that the model is.
 * It may include: base file program. */
#ifndef KQ_ARCH_H
#define KQ_ARCH_H

#include "program/program.h"

/* What the engine wants to know of a model besides its program. */
typedef struct kq_shape {
    const char *architecture;
    uint64_t n_vocab, n_layer, n_embd, n_ctx_train;
} kq_shape;

/* Chooses the family by general.architecture and writes the program (not yet verified) into *p, which the caller has initialised and
 * frees, also after a failure. The program borrows the file's bytes. Inputs: tokens, positions, rows; output: logits [R, n_vocab].
 * KQ_E_MODEL, KQ_E_UNSUPPORTED, KQ_E_LIMIT, KQ_E_PROGRAM, KQ_E_MEMORY. */
KQ_MUST_CHECK kq_status kq_arch_build(kq_program *p, kq_shape *shape, const kq_gguf *file, kq_error *err);

/* ---- what families share (transformer.c) --------------------------------------------------------------------------- */

/* The hyper-parameters of a decoder-only transformer. */
typedef struct kq_hyper {
    uint64_t n_vocab, n_embd, n_layer, n_ctx;
    uint64_t head_k, head_v;   /* width of a head's queries and keys, and of its values */
    double eps;
    kq_rope_how rope;
    double scale;              /* of attention scores */
    uint64_t n_expert, n_used; /* 0: dense */
    uint64_t n_ff_expert;
    double expert_scale;       /* of the experts' weights once they sum to 1 */
    /* what distinguishes the families, set by them after kq_hyper_read */
    bool qkv_bias, qk_norm;    /* must be there; where they need not, they are used if they are */
    bool gelu;                 /* gates are GELU, not SiLU */
} kq_hyper;

/* Reads and checks them from the common keys; `rope_style` is the family's. Refuses by name what would be run wrongly. */
void kq_hyper_read(kq_builder *b, int rope_style, kq_hyper *h);
/* Fails if the file sets this number to anything but `neutral`: the family's program does not have that arithmetic. */
void kq_refuse(kq_builder *b, const char *key, double neutral);

/* Tokens to vectors -> [T, n_embd]. */
kq_ref kq_embedding(kq_builder *b, const kq_hyper *h, double scale);
/* x normalised with blk.LAYER.NAME.weight -> as x */
kq_ref kq_norm(kq_builder *b, const kq_hyper *h, kq_ref x, const char *name);
/* Grouped attention of layer b->layer over its own cache: q, k and v from x [T, n_embd], normalised head by head where the family or the file
 * says so, rope, attention, output matrix -> [T, n_embd] */
kq_ref kq_self_attention(kq_builder *b, const kq_hyper *h, kq_ref x, uint64_t window);
/* down(gate(x) * up(x)) -> [T, n_embd] */
kq_ref kq_ffn(kq_builder *b, const kq_hyper *h, kq_ref x);
/* The same for the n_used experts that the router picks for each token -> [T, n_embd] */
kq_ref kq_experts_ffn(kq_builder *b, const kq_hyper *h, kq_ref x);
/* Norm, and the output matrix (the embedding when the file has none): the output `logits` [R, n_vocab]. */
void kq_logits(kq_builder *b, const kq_hyper *h, kq_ref x);

/* ---- families ------------------------------------------------------------------------------------------------------ */

typedef void kq_arch_fn(kq_builder *b, kq_hyper *h);
#define KQ_ARCH(id, name) kq_arch_fn kq_arch_##id;
#include "arch/archs.def"

#endif
