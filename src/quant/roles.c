/* SPDX-License-Identifier: MIT */
/* The roles of a model's tensors: what the program that its family writes does with them. */
#include "quant/quant.h"

#include "arch/arch.h"

kq_status kq_roles_read(uint64_t *roles, const kq_gguf *g, const kq_allocator *a, kq_error *err) {
    kq_program program;
    kq_shape shape;
    kq_program_init(&program, a);
    kq_status status = kq_arch_build(&program, &shape, g, err);
    for (size_t i = 0; i < program.n_slots && !status; i++) {
        const kq_slot *slot = &program.slots[i];
        const kq_gguf_tensor *t = slot->kind == KQ_SLOT_WEIGHT && slot->role ? kq_gguf_tensor_find(g, slot->name) : NULL;
        if (t) roles[t - kq_gguf_tensor_at(g, 0)] |= UINT64_C(1) << slot->role;
    }
    kq_program_free(&program);
    return status;
}
