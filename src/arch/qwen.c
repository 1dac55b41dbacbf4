/* SPDX-License-Identifier: MIT */
/* Qwen2 (biases on q, k and v), Qwen3 (norms on q and k instead) and Qwen3 with experts: as Llama, with rope over halves.
 * Source: "Qwen2 Technical Report" (2024), "Qwen3 Technical Report" (2025). */
#include "arch/arch.h"

static void qwen(kq_builder *b, const kq_hyper *h) {
    kq_ref x = kq_embedding(b, h, 1.0);                  /* [T, n_embd] */
    for (uint32_t i = 0; i < h->n_layer; i++) {
        b->layer = (uint16_t)i;
        x = kq_sum(b, x, kq_self_attention(b, h, kq_norm(b, h, x, "attn_norm"), 0));
        if (i + 1 == h->n_layer) x = kq_pick_rows(b, x); /* [R, n_embd] */
        kq_ref y = kq_norm(b, h, x, "ffn_norm");
        x = kq_sum(b, x, h->n_ff_expert ? kq_experts_ffn(b, h, y) : kq_ffn(b, h, y));
    }
    kq_logits(b, h, x);                                  /* [R, n_vocab] */
}

void kq_arch_qwen2(kq_builder *b, kq_hyper *h) {
    kq_hyper_read(b, 1, h);
    h->qkv_bias = true;
    qwen(b, h);
}

void kq_arch_qwen3(kq_builder *b, kq_hyper *h) {
    kq_hyper_read(b, 1, h);
    h->qk_norm = true;
    qwen(b, h);
}

void kq_arch_qwen3moe(kq_builder *b, kq_hyper *h) {
    kq_hyper_read(b, 1, h);
    h->qk_norm = true;
    if (h->n_expert == 0) kq_builder_fail(b, KQ_E_MODEL, "qwen3moe.expert_count is 0 or missing");
    h->n_ff_expert = kq_key_exists(b, "expert_feed_forward_length")
                         ? kq_key_u64(b, "expert_feed_forward_length", 1, 1 << 20)
                         : kq_key_u64(b, "feed_forward_length", h->n_used, 1 << 20) / KQ_MAX(h->n_used, 1);
    qwen(b, h);
}
