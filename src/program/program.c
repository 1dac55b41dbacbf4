/* SPDX-License-Identifier: MIT */
/* Programs as objects: open, close, look up. */
#include "program/program.h"

void kq_program_init(kq_program *p, const kq_allocator *a) {
    *p = (kq_program){0};
    kq_arena_init(&p->arena, a);
}

void kq_program_free(kq_program *p) {
    kq_free(&p->arena.allocator, p->slots);
    kq_free(&p->arena.allocator, p->steps);
    kq_arena_free(&p->arena);
    p->slots = NULL;
    p->steps = NULL;
    p->n_slots = p->n_steps = p->slots_capacity = p->steps_capacity = 0;
}

uint32_t kq_program_find(const kq_program *p, kq_slot_kind kind, const char *name) {
    for (size_t i = 0; i < p->n_slots; i++) {
        if (p->slots[i].kind == kind && strcmp(p->slots[i].name, name) == 0) return (uint32_t)i;
    }
    return KQ_NO_SLOT;
}

bool kq_slot_bytes(const kq_slot *slot, const kq_symbols *s, uint64_t *bytes) {
    *bytes = sizeof(float);
    for (int i = 0; i < slot->n_dims; i++) {
        if (!kq_mul(*bytes, (uint64_t)kq_dim_value(slot->dims[i], s), bytes)) return false;
    }
    return *bytes <= INT64_MAX;
}
