/* SPDX-License-Identifier: MIT */
/* The memory plan: steps are walked in order; a temporary lies in the lowest gap between those that are alive, and dies after
 * its last reader. A reshaped temporary and its source are one piece of memory. Where the operation allows it (y~a in ops.def), a result
 * takes the memory of an input that dies there. */
#include "program/program.h"

typedef struct piece {
    uint64_t at, size;
    size_t dies; /* the last step that reads it */
} piece;

typedef struct planner {
    const kq_program *p;
    const kq_symbols *largest;
    uint32_t *root; /* of every slot: whose memory it is */
    size_t *last;   /* of every root: the last step that reads or writes it */
    piece *live;    /* by offset */
    size_t n_live, live_capacity;
    kq_allocator a;
    kq_plan *out;
} planner;

static void find_lifetimes(planner *l) {
    const kq_program *p = l->p;
    for (size_t i = 0; i < p->n_slots; i++) l->root[i] = (uint32_t)i;
    for (size_t i = 0; i < p->n_steps; i++) {
        const kq_step *step = &p->steps[i];
        if (step->op == KQ_OP_reshape) l->root[step->out] = l->root[step->in[0]];
        for (int k = 0; k < KQ_MAX_INPUTS; k++) {
            if (step->in[k] != KQ_NO_SLOT) l->last[l->root[step->in[k]]] = i;
        }
        l->last[l->root[step->out]] = i;
    }
}

/* The lowest gap of `size` bytes; *index is its place among the live pieces. */
static bool find_gap(const planner *l, uint64_t size, uint64_t *at, size_t *index) {
    *at = 0;
    for (*index = 0; *index < l->n_live; ++*index) {
        const piece *next = &l->live[*index];
        if (kq_within(*at, size, next->at)) return true;
        *at = next->at + next->size; /* did not overflow when it was placed */
    }
    uint64_t end;
    return kq_add(*at, size, &end) && end <= INT64_MAX;
}

/* The input whose memory the step's output may take: it dies here and is as large. */
static uint32_t dying_input(const planner *l, size_t step_index, uint64_t size) {
    const kq_step *step = &l->p->steps[step_index];
    kq_signature s;
    kq_signature_read((kq_op)step->op, &s);
    for (size_t i = 0; i < s.n_in; i++) {
        if (strcmp(s.in[i].name, s.out.over) != 0) continue;
        uint32_t root = l->root[step->in[i]];
        uint64_t bytes;
        if (l->p->slots[root].kind == KQ_SLOT_TEMP && l->last[root] == step_index && kq_slot_bytes(&l->p->slots[root], l->largest, &bytes) &&
            kq_round_up(bytes, 64, &bytes) && bytes == size) {
            return root;
        }
    }
    return KQ_NO_SLOT;
}

static kq_status place(planner *l, size_t step_index, kq_error *err) {
    const kq_step *step = &l->p->steps[step_index];
    const kq_slot *slot = &l->p->slots[step->out];
    uint64_t size, at;
    size_t index;
    if (!kq_slot_bytes(slot, l->largest, &size) || !kq_round_up(size, 64, &size)) {
        return kq_fail(err, KQ_E_LIMIT, "step %zu, %s: its result is too large", step_index, kq_ops[step->op].name);
    }
    uint32_t input = dying_input(l, step_index, size);
    if (input != KQ_NO_SLOT) {
        l->out->offset[step->out] = l->out->offset[input];
        for (index = 0; l->live[index].at != l->out->offset[input];) index++;
        l->live[index].dies = l->last[step->out];
        return KQ_OK;
    }
    if (!find_gap(l, size, &at, &index)) return kq_fail(err, KQ_E_LIMIT, "the temporaries are too large");
    if (!kq_grow(&l->a, &l->live, &l->live_capacity, l->n_live + 1, sizeof *l->live)) return kq_fail_memory(err, sizeof *l->live, "a plan");
    memmove(&l->live[index + 1], &l->live[index], (l->n_live - index) * sizeof *l->live);
    l->live[index] = (piece){at, size, l->last[step->out]};
    l->n_live++;
    l->out->offset[step->out] = at;
    l->out->bytes = KQ_MAX(l->out->bytes, at + size);
    return KQ_OK;
}

static void bury(planner *l, size_t step_index) {
    size_t kept = 0;
    for (size_t i = 0; i < l->n_live; i++) {
        if (l->live[i].dies > step_index) l->live[kept++] = l->live[i];
    }
    l->n_live = kept;
}

kq_status kq_plan_make(kq_plan *out, const kq_program *p, const kq_symbols *largest, const kq_allocator *a, kq_error *err) {
    planner l = {.p = p, .largest = largest, .a = *a, .out = out};
    kq_status status = KQ_OK;
    *out = (kq_plan){.offset = kq_alloc_raw(a, p->n_slots, sizeof *out->offset)};
    l.root = kq_alloc_raw(a, p->n_slots, sizeof *l.root);
    l.last = kq_alloc(a, p->n_slots, sizeof *l.last);
    if (!out->offset || !l.root || !l.last) {
        status = kq_fail_memory(err, p->n_slots * sizeof *out->offset, "a plan");
        goto done;
    }
    for (size_t i = 0; i < p->n_slots; i++) out->offset[i] = KQ_NO_OFFSET;
    find_lifetimes(&l);
    for (size_t i = 0; i < p->n_steps && !status; i++) {
        const kq_step *step = &p->steps[i];
        if (step->op == KQ_OP_reshape) out->offset[step->out] = out->offset[step->in[0]];
        else if (p->slots[step->out].kind == KQ_SLOT_TEMP) status = place(&l, i, err);
        bury(&l, i);
    }
done:
    kq_free(a, l.root);
    kq_free(a, l.last);
    kq_free(a, l.live);
    if (status) kq_plan_free(out, a);
    return status;
}

void kq_plan_free(kq_plan *plan, const kq_allocator *a) {
    kq_free(a, plan->offset);
    *plan = (kq_plan){0};
}
