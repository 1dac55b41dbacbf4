/* SPDX-License-Identifier: MIT */
/* For tests and fuzzing of programs: a small one with every operation, and a run of whatever the verifier lets pass. Each weight, input
 * and output is a block of its own exact size, so that the address sanitizer sees one byte too far. */
#ifndef KQ_TESTS_PROGRAM_KIT_H
#define KQ_TESTS_PROGRAM_KIT_H

#include "cpu/cpu.h"
#include "program/program.h"

#include <stdio.h>
#include <stdlib.h>

enum { KIT_T = 3, KIT_R = 2, KIT_S = 5, KIT_WEIGHTS = 16 };

typedef struct kit {
    kq_program program;
    float *weights[KIT_WEIGHTS];
    size_t n_weights;
} kit;

static inline void *kit_must(void *p) {
    if (!p) {
        fprintf(stderr, "no memory for a program\n");
        exit(1);
    }
    return p;
}

static inline kq_ref kit_weight(kit *k, kq_builder *b, const char *name, uint32_t n_dims, const uint64_t *dims) {
    size_t n = 1;
    for (uint32_t d = 0; d < n_dims; d++) n *= (size_t)dims[d];
    float *w = k->weights[k->n_weights++] = kit_must(malloc(n * sizeof *w));
    for (size_t i = 0; i < n; i++) w[i] = 0.01f * (float)(i % 29) + 0.1f;
    return kq_weight(b, KQ_F32, w, n * sizeof *w, n_dims, dims, name);
}
#define KIT_WEIGHT(name, n_dims, ...) kit_weight(k, &b, name, n_dims, (uint64_t[]){__VA_ARGS__})

/* Two heads of width 4, vocabulary 6, three experts of which two are used. */
static inline void kit_open(kit *k) {
    *k = (kit){0};
    kq_program_init(&k->program, NULL);
    kq_builder b = {.program = &k->program, .prefix = "kit"};
    b.tokens = kq_input(&b, KQ_SYM_T, 6, "tokens");
    b.positions = kq_input(&b, KQ_SYM_T, KQ_SYM_S, "positions");
    b.rows = kq_input(&b, KQ_SYM_R, KQ_SYM_T, "rows");
    kq_ref w = KIT_WEIGHT("w", 2, 6, 8), norm = KIT_WEIGHT("norm", 1, 8), factors = KIT_WEIGHT("factors", 1, 2);
    kq_ref bias = KIT_WEIGHT("bias", 1, 6), router = KIT_WEIGHT("router", 2, 3, 8), up = KIT_WEIGHT("up", 3, 3, 10, 8);
    kq_ref down = KIT_WEIGHT("down", 3, 3, 8, 10);
    kq_ref x = kq_rms_norm(&b, kq_look_up(&b, w, b.tokens, 1.0), norm, 1e-5);
    const kq_rope_how how = {.n_rot = 4, .style = 1, .base = 10000.0, .scale = 1.0, .factors = factors};
    kq_ref q = kq_rope(&b, kq_reshape(&b, x, 2, 4), &how), cache = kq_state(&b, 2, 4, "cache");
    kq_cache_write(&b, q, cache);
    x = kq_sum(&b, x, kq_reshape(&b, kq_attention(&b, q, cache, cache, 0.5, 0), 8, 0));
    kq_ref scores = kq_linear(&b, router, x, KQ_NO_SLOT), idx = kq_router_pick(&b, scores, 2);
    kq_ref weights = kq_router_weights(&b, scores, idx, true, 1.0), y = kq_reshape(&b, x, 1, 8);
    y = kq_silu_mul(&b, kq_linear_gather(&b, up, y, idx), kq_linear_gather(&b, up, y, idx));
    y = kq_combine(&b, kq_linear_gather(&b, down, y, idx), weights);
    x = kq_pick_rows(&b, kq_gelu_mul(&b, x, y));
    kq_output(&b, kq_linear(&b, w, x, bias), "logits");
    if (b.status) {
        fprintf(stderr, "the kit's program cannot be built\n");
        exit(1);
    }
}

static inline void kit_close(kit *k) {
    for (size_t i = 0; i < k->n_weights; i++) free(k->weights[i]);
    kq_program_free(&k->program);
}

/* Binds every slot; false when one is too large to try. own[i]: the block of an input, state or output. */
static inline bool kit_bind(const kq_program *p, const kq_symbols *symbols, const kq_plan *plan, uint8_t *arena, kq_tensor *slots, void **own) {
    for (size_t i = 0; i < p->n_slots; i++) {
        const kq_slot *s = &p->slots[i];
        kq_tensor *t = &slots[i];
        *t = (kq_tensor){.n_dims = s->n_dims, .type = s->type, .codec = s->kind == KQ_SLOT_WEIGHT ? s->codec : KQ_F32};
        for (int d = 0; d < s->n_dims; d++) t->dims[d] = kq_dim_value(s->dims[d], symbols);
        uint64_t size;
        if (s->kind == KQ_SLOT_TEMP) {
            t->data = arena + plan->offset[i];
        } else if (s->kind == KQ_SLOT_WEIGHT) {
            memcpy(&t->data, &s->data, sizeof t->data);
            if (kq_row_bytes(s->codec, (uint64_t)s->dims[s->n_dims - 1], &t->row_bytes, NULL)) return false;
        } else {
            if (!kq_slot_bytes(s, symbols, &size) || size > 1 << 20) return false;
            t->data = own[i] = kit_must(calloc(1, size));
            int64_t limit = s->type == KQ_T_I32 ? kq_dim_value(s->limit, symbols) : 0;
            for (uint64_t k = 0; s->type == KQ_T_I32 && k < size / 4; k++) ((int32_t *)t->data)[k] = (int32_t)((int64_t)k % limit);
        }
    }
    return true;
}

/* Runs a program that the verifier let pass; false when it is too large to try. The sanitizers watch. */
static inline bool kit_run(const kq_program *p) {
    const kq_allocator a = kq_allocator_of(NULL);
    const kq_symbols symbols = {{KIT_T, KIT_R, KIT_S}};
    kq_plan plan;
    kq_error err = {0};
    if (kq_plan_make(&plan, p, &symbols, &a, &err)) return false;
    bool small = plan.bytes <= 1 << 20;
    uint8_t *arena = kit_must(calloc(1, small ? plan.bytes + 1 : 1));
    kq_tensor *slots = kit_must(calloc(p->n_slots + 1, sizeof *slots));
    void **own = kit_must(calloc(p->n_slots + 1, sizeof *own));
    small = small && kit_bind(p, &symbols, &plan, arena, slots, own);
    uint64_t scratch;
    kq_cpu_table table;
    kq_cpu_select(&table, 0);
    if (small && kq_exec_scratch(p->steps, p->n_steps, slots, 1, &scratch) && scratch < 1 << 24) {
        kq_exec x = {.table = &table, .slots = slots, .exact = true, .scratch = kit_must(kq_alloc_raw(&a, scratch, 1))};
        kq_exec_run(&x, p->steps, p->n_steps);
        kq_free(&a, x.scratch);
    }
    for (size_t i = 0; i < p->n_slots; i++) free(own[i]);
    free(own);
    free(slots);
    free(arena);
    kq_plan_free(&plan, &a);
    return small;
}

#endif
