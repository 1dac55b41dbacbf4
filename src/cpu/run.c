/* SPDX-License-Identifier: MIT */
/* The interpreter: a verified program's steps, in order, over slots that the session has bound. */
#include "cpu/cpu.h"

static const kq_cpu_op *const operations[KQ_N_OPS] = {
#define KQ_OP(name, signature, attributes) [KQ_OP_##name] = &kq_cpu_##name,
#include "program/ops.def"
};

bool kq_exec_scratch(const kq_step *steps, size_t n_steps, const kq_tensor *slots, int n_threads, uint64_t *bytes) {
    *bytes = 0;
    for (size_t i = 0; i < n_steps; i++) {
        const kq_cpu_op *op = operations[steps[i].op];
        uint64_t need = 0;
        if (op->scratch && !op->scratch(slots, &steps[i], n_threads, &need)) return false;
        *bytes = KQ_MAX(*bytes, need);
    }
    return true;
}

void kq_exec_run(const kq_exec *x, const kq_step *steps, size_t n_steps) {
    for (size_t i = 0; i < n_steps; i++) operations[steps[i].op]->run(x, &steps[i]);
}
