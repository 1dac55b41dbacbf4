/* SPDX-License-Identifier: MIT */
/* expert_model IN OUT   makes of a dense qwen3 model (a GGUF) one with four experts that are its feed-forward layers, two of which are used: one of
 * experts 0 and 1, by the sign of a sum, and always 2; expert 3 never is. So what it says is near the dense model, and its coverage is known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kquant/kquant.h>

enum { EXPERTS = 4, MOST_LAYERS = 64 };

static kq_error e;
static void must(kq_status status) {
    if (!status) return;
    fprintf(stderr, "expert_model: %s\n", e.text);
    exit(1);
}

static kq_status produce(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    const kq_gguf_tensor *t = ctx;
    kq_status status = KQ_OK;
    for (int i = 0; i < EXPERTS && !status; i++) status = put(sink, t->data, (size_t)t->bytes, err);
    return status;
}

static void copy_values(const kq_gguf *g, kq_gguf_writer *w) {
    uint64_t n_ff;
    must(kq_gguf_get_u64(g, "qwen3.feed_forward_length", 1, 1 << 20, &n_ff, &e));
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        char key[256];
        bool renamed = strncmp(v->key.data, "qwen3.", 6) == 0;
        snprintf(key, sizeof key, "%s%s", renamed ? "qwen3moe." : "", v->key.data + (renamed ? 6 : 0));
        must(kq_gguf_writer_value(w, key, v->kind, v->element, v->count, v->data, (size_t)v->size, &e));
    }
    must(kq_gguf_writer_string(w, "general.architecture", "qwen3moe", &e));
    must(kq_gguf_writer_u32(w, "qwen3moe.expert_count", EXPERTS, &e));
    must(kq_gguf_writer_u32(w, "qwen3moe.expert_used_count", 2, &e));
    must(kq_gguf_writer_u32(w, "qwen3moe.expert_feed_forward_length", (uint32_t)n_ff, &e));
}

static float *make_router(uint64_t columns) {
    float *router = calloc(EXPERTS * (size_t)columns, sizeof *router);
    for (size_t i = 0; router && i < columns; i++) router[columns + i] = -(router[i] = i % 2 ? 1.0f : -1.0f);
    if (!router) exit(1);
    return router;
}

int main(int argc, char **argv) {
    if (argc != 3) return fputs("usage: expert_model IN OUT\n", stderr), 2;
    kq_gguf *g;
    kq_gguf_writer *w;
    float *routers[MOST_LAYERS] = {NULL};
    size_t n_routers = 0;
    must(kq_gguf_open(&g, argv[1], NULL, &e));
    must(kq_gguf_writer_open(&w, argv[2], NULL, &e));
    copy_values(g, w);
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        unsigned layer;
        char part[16], name[64];
        if (sscanf(t->name.data, "blk.%u.ffn_%15[a-z].weight", &layer, part) != 2 || !strcmp(part, "norm")) {
            must(kq_gguf_writer_tensor(w, t->name.data, t->codec, t->n_dims, t->dims, t->data, NULL, NULL, &e));
            continue;
        }
        uint64_t dims[3] = {t->dims[0], t->dims[1], EXPERTS};
        snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", layer, part);
        must(kq_gguf_writer_tensor(w, name, t->codec, 3, dims, NULL, produce, (void *)(size_t)t, &e));
        if (strcmp(part, "gate") || n_routers == MOST_LAYERS) continue;
        dims[1] = EXPERTS;
        snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", layer);
        routers[n_routers] = make_router(dims[0]);
        must(kq_gguf_writer_tensor(w, name, KQ_F32, 2, dims, routers[n_routers++], NULL, NULL, &e));
    }
    must(kq_gguf_writer_finish(w, &e));
    kq_gguf_writer_close(w);
    kq_gguf_close(g);
    while (n_routers) free(routers[--n_routers]);
    return 0;
}
