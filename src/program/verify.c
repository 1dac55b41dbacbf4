/* SPDX-License-Identifier: MIT */
/* The verifier: what holds here is what the interpreter relies on without looking again. Afterwards
 *   - every slot has 1 to 4 dimensions, each 1 to 2^40 or a symbol, and at the symbols' bounds a size below 2^62 bytes;
 *   - a weight's bytes are exactly its rows, in a codec that decodes;
 *   - every operand of a step exists, has the kind, type and shape that ops.def says, and was written before;
 *   - every temporary and output is written by exactly one step, state by cache_write alone, inputs and weights by none;
 *   - indices are bounded by what they index; attributes are in range. */
#include "program/program.h"

#include <math.h>

static const char *const kind_names[] = {"none", "weight", "input", "state", "temporary", "output"};
static const kq_symbols bounds = {{KQ_MAX_BATCH, KQ_MAX_BATCH, KQ_MAX_POSITIONS}};

/* ---- slots --------------------------------------------------------------------------------------------------------- */

static bool dim_fits(kq_dim d, bool symbols) { return d > 0 ? d <= (kq_dim)1 << 40 : symbols && d < 0 && d >= -KQ_N_SYMBOLS; }

static const char *weight_wrong(const kq_slot *s) {
    const kq_codec_info *codec = kq_codec_describe(s->codec);
    if (!codec || !codec->decodes) return "no codec that decodes";
    uint64_t row_bytes, rows = 1, bytes;
    for (int d = 0; d < s->n_dims - 1; d++) {
        if (!kq_mul(rows, (uint64_t)s->dims[d], &rows)) return "too many rows";
    }
    if (kq_row_bytes(s->codec, (uint64_t)s->dims[s->n_dims - 1], &row_bytes, NULL)) return "columns are no whole blocks";
    if (!kq_mul(rows, row_bytes, &bytes) || bytes != s->bytes) return "bytes are not rows times the bytes of a row";
    return s->data ? NULL : "no data";
}

/* NULL, or what is wrong. */
static const char *slot_wrong(const kq_slot *s) {
    if (!s->name) return "no name";
    if (s->n_dims < 1 || s->n_dims > KQ_MAX_DIMS) return "not 1 to 4 dimensions";
    for (int d = 0; d < s->n_dims; d++) {
        if (!dim_fits(s->dims[d], s->kind != KQ_SLOT_WEIGHT && (s->kind != KQ_SLOT_STATE || d == 0))) return "a dimension out of range";
    }
    uint64_t bytes;
    if (!kq_slot_bytes(s, &bounds, &bytes) || bytes >= (uint64_t)1 << 62) return "too large";
    if (s->type == KQ_T_I32 ? !dim_fits(s->limit, true) || s->limit > INT32_MAX : s->limit != 0) return "a limit out of range";
    if (s->alias != KQ_NO_SLOT && s->kind != KQ_SLOT_TEMP) return "an alias that is no temporary";
    switch (s->kind) {
    case KQ_SLOT_WEIGHT: return s->type == KQ_T_WEIGHT ? weight_wrong(s) : "a weight of another type";
    case KQ_SLOT_STATE:
        if (s->n_dims < 2 || s->dims[0] != KQ_SYM_S) return "state whose first dimension is not the positions";
        return s->type == KQ_T_STATE ? NULL : "state of another type";
    case KQ_SLOT_INPUT:
    case KQ_SLOT_TEMP: return s->type == KQ_T_F32 || s->type == KQ_T_I32 ? NULL : "neither f32 nor i32";
    case KQ_SLOT_OUTPUT: return s->type == KQ_T_F32 ? NULL : "an output that is not f32";
    default: return "no kind of slot";
    }
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

/* The numbers multiplied, and how often each symbol stands. */
static bool product_of(const kq_slot *s, uint64_t *numbers, int symbols[KQ_N_SYMBOLS]) {
    *numbers = 1;
    memset(symbols, 0, KQ_N_SYMBOLS * sizeof *symbols);
    for (int d = 0; d < s->n_dims; d++) {
        if (s->dims[d] < 0) symbols[-1 - s->dims[d]]++;
        else if (!kq_mul(*numbers, (uint64_t)s->dims[d], numbers)) return false;
    }
    return true;
}

static const char *reshape_wrong(const kq_step *step, const kq_slot *in, const kq_slot *out) {
    uint64_t a, b;
    int as[KQ_N_SYMBOLS], bs[KQ_N_SYMBOLS];
    if (in->kind != KQ_SLOT_TEMP || out->kind != KQ_SLOT_TEMP || out->alias != step->in[0]) return "reshapes what is no temporary";
    if (!product_of(in, &a, as) || !product_of(out, &b, bs) || a != b || memcmp(as, bs, sizeof as) != 0) return "changes the size";
    return NULL;
}

typedef struct state {
    const kq_program *p;
    uint8_t *written; /* of every slot */
    size_t i;         /* the step */
    kq_error *err;
} state;

static kq_status step_fail(const state *v, const char *operand, const char *why) {
    const kq_step *step = &v->p->steps[v->i];
    return kq_fail(v->err, KQ_E_PROGRAM, "step %zu, %s of layer %u, %s: %s", v->i, kq_ops[step->op].name, step->layer, operand, why);
}

static kq_status check_input(const state *v, uint32_t index, const kq_operand *o, kq_binding *binding) {
    if (index == KQ_NO_SLOT && o->optional) return KQ_OK;
    if (index >= v->p->n_slots) return step_fail(v, o->name, "no such slot");
    const kq_slot *s = &v->p->slots[index];
    if (s->kind == KQ_SLOT_OUTPUT) return step_fail(v, o->name, "reads an output");
    if (s->kind == KQ_SLOT_TEMP && !v->written[index]) return step_fail(v, o->name, "read before it is written");
    const char *why = kq_bind(binding, o, s);
    return why ? step_fail(v, o->name, why) : KQ_OK;
}

static kq_status check_output(const state *v, const kq_signature *s, kq_binding *binding) {
    const kq_step *step = &v->p->steps[v->i];
    const kq_operand *o = &s->out;
    if (step->out >= v->p->n_slots) return step_fail(v, o->name, "no such slot");
    const kq_slot *out = &v->p->slots[step->out];
    for (size_t i = 0; i < s->n_in; i++) { /* an output with an input's name is that slot */
        if (strcmp(s->in[i].name, o->name) == 0 && step->in[i] != step->out) return step_fail(v, o->name, "is not the slot it changes");
    }
    if (o->type == 's') {
        if (out->kind != KQ_SLOT_STATE) return step_fail(v, o->name, "is not state");
    } else {
        if (out->kind != KQ_SLOT_TEMP && out->kind != KQ_SLOT_OUTPUT) return step_fail(v, o->name, "writes what is not its to write");
        if (v->written[step->out]) return step_fail(v, o->name, "is written twice");
        if ((step->op == KQ_OP_reshape) != (out->alias != KQ_NO_SLOT)) return step_fail(v, o->name, "has an alias, or lacks one");
        v->written[step->out] = 1;
    }
    const char *why = kq_bind(binding, o, out);
    if (!why && o->limit && out->limit != binding->letter[o->limit - 'A']) why = "promises another range";
    return why ? step_fail(v, o->name, why) : KQ_OK;
}

static kq_status check_step(const state *v) {
    const kq_step *step = &v->p->steps[v->i];
    if (step->op >= KQ_N_OPS) return kq_fail(v->err, KQ_E_PROGRAM, "step %zu: no operation %u", v->i, step->op);
    kq_signature s;
    kq_binding binding = {0};
    kq_signature_read((kq_op)step->op, &s);
    for (size_t i = 0; i < KQ_MAX_INPUTS; i++) {
        if (i < s.n_in) KQ_TRY(check_input(v, step->in[i], &s.in[i], &binding));
        else if (step->in[i] != KQ_NO_SLOT) return step_fail(v, "inputs", "too many");
    }
    for (size_t i = 0; i < s.n_attr; i++) {
        if (s.attr[i].real && !isfinite(step->attr[i].f)) return step_fail(v, s.attr[i].name, "is not finite");
    }
    KQ_TRY(check_output(v, &s, &binding));
    if (step->op == KQ_OP_reshape) {
        const char *why = reshape_wrong(step, &v->p->slots[step->in[0]], &v->p->slots[step->out]);
        if (why) return step_fail(v, "x", why);
    }
    const char *condition = kq_conditions_check(&s, &binding, step->attr);
    if (!condition) return KQ_OK;
    return kq_fail(v->err, KQ_E_PROGRAM, "step %zu, %s of layer %u: %.*s does not hold", v->i, kq_ops[step->op].name, step->layer,
                   (int)strcspn(condition, " "), condition);
}

kq_status kq_program_verify(const kq_program *p, kq_error *err) {
    if (p->n_slots > KQ_MAX_SLOTS || p->n_steps > KQ_MAX_STEPS) {
        return kq_fail(err, KQ_E_PROGRAM, "%zu slots and %zu steps are more than a program may have", p->n_slots, p->n_steps);
    }
    for (size_t i = 0; i < p->n_slots; i++) {
        const kq_slot *s = &p->slots[i];
        const char *why = slot_wrong(s);
        if (why) return kq_fail(err, KQ_E_PROGRAM, "slot %zu %.60s: %s", i, s->name ? s->name : "", why);
    }
    state v = {.p = p, .err = err, .written = kq_alloc(&p->arena.allocator, p->n_slots, 1)};
    if (!v.written) return kq_fail_memory(err, p->n_slots, "the verifier");
    kq_status status = KQ_OK;
    for (; v.i < p->n_steps && !status; v.i++) status = check_step(&v);
    for (size_t i = 0; i < p->n_slots && !status; i++) {
        uint8_t kind = p->slots[i].kind;
        if ((kind == KQ_SLOT_TEMP || kind == KQ_SLOT_OUTPUT) && !v.written[i]) {
            status = kq_fail(err, KQ_E_PROGRAM, "slot %zu %.60s, %s: nothing writes it", i, p->slots[i].name, kind_names[kind]);
        }
    }
    kq_free(&p->arena.allocator, v.written);
    return status;
}
