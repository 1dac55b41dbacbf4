/* SPDX-License-Identifier: MIT */
/* Llama, Mistral and Mixtral, and what follows them: pre-norm, rope over adjacent pairs, gated feed-forward or experts.
 * Source: "LLaMA: Open and Efficient Foundation Language Models" (2023), "Mixtral of Experts" (2024). */
#include "arch/arch.h"

void kq_arch_llama(kq_builder *b, kq_hyper *h) {
    kq_hyper_read(b, 0, h);
    double scale = kq_key_f64_or(b, "attention.scale", 0.0, 0.0, 1e6);
    if (scale != 0.0) h->scale = scale;
    if (h->n_expert) h->n_ff_expert = kq_key_u64(b, "feed_forward_length", 1, 1 << 20);

    kq_ref x = kq_embedding(b, h, 1.0);                  /* [T, n_embd] */
    for (uint32_t i = 0; i < h->n_layer; i++) {
        b->layer = (uint16_t)i;
        x = kq_sum(b, x, kq_self_attention(b, h, kq_norm(b, h, x, "attn_norm"), 0));
        if (i + 1 == h->n_layer) x = kq_pick_rows(b, x); /* [R, n_embd] */
        kq_ref y = kq_norm(b, h, x, "ffn_norm");
        x = kq_sum(b, x, h->n_expert ? kq_experts_ffn(b, h, y) : kq_ffn(b, h, y));
    }
    kq_logits(b, h, x);                                  /* [R, n_vocab] */
}
