/* SPDX-License-Identifier: MIT */
/* Gemma 3: norms before and after each half of a layer, q and k normalised, five layers with a sliding window and their own rope to
 * each layer that sees everything, embeddings times sqrt(n_embd), GELU gates.
 * Source: "Gemma 3 Technical Report" (2025). The file's norm weights already hold the 1 that the paper adds. */
#include "arch/arch.h"

#include <math.h>

/* The window of layer b->layer; 0 = it sees everything. The pattern is a flag a layer, or a period whose last layer is global. */
static uint64_t window_of(kq_builder *b, uint64_t window) {
    const char *key = "attention.sliding_window_pattern";
    bool local = kq_key_is_list(b, key) ? kq_key_layer(b, key, 0, 1) != 0 : (b->layer + 1) % kq_key_u64_or(b, key, 6, 1, 1024) != 0;
    return local ? window : 0;
}

void kq_arch_gemma3(kq_builder *b, kq_hyper *h) {
    kq_hyper_read(b, 1, h);
    h->qk_norm = true;
    h->gelu = true;
    if (h->n_expert) kq_builder_fail(b, KQ_E_UNSUPPORTED, "gemma3.expert_count = %llu is not supported", (unsigned long long)h->n_expert);
    kq_refuse(b, "final_logit_softcapping", 0.0);
    kq_refuse(b, "attn_logit_softcapping", 0.0);
    uint64_t window = kq_key_u64_or(b, "attention.sliding_window", 0, 0, INT32_MAX);
    /* No key says so: the 27B model, which is the one of 62 layers, scales by the width of the model and not of its heads. */
    if (h->n_layer == 62) {
        uint64_t width = h->n_embd / kq_key_layer(b, "attention.head_count", 1, h->n_embd);
        h->scale = 1.0 / sqrt((double)width);
    }

    kq_hyper local = *h;
    local.rope.base = kq_key_f64_or(b, "rope.freq_base_swa", 10000.0, 1.0, 1e15);
    local.rope.scale = 1.0;

    kq_ref x = kq_embedding(b, h, sqrt((double)h->n_embd)); /* [T, n_embd] */
    for (uint32_t i = 0; i < h->n_layer; i++) {
        b->layer = (uint16_t)i;
        uint64_t w = window ? window_of(b, window) : 0;
        kq_ref y = kq_self_attention(b, w ? &local : h, kq_norm(b, h, x, "attn_norm"), w);
        x = kq_sum(b, x, kq_norm(b, h, y, "post_attention_norm"));
        if (i + 1 == h->n_layer) x = kq_pick_rows(b, x);    /* [R, n_embd] */
        y = kq_ffn(b, h, kq_norm(b, h, x, "ffn_norm"));
        x = kq_sum(b, x, kq_norm(b, h, y, "post_ffw_norm"));
    }
    kq_logits(b, h, x);                                     /* [R, n_vocab] */
}
