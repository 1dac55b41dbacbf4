/* SPDX-License-Identifier: MIT */
/* Programs: the verifier against broken ones, the plan against brute force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "arch/arch.h"
#include "make_model.h"
#include "program_kit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- broken by hand ------------------------------------------------------------------------------------------------ */

static void accepted(void **state) {
    (void)state;
    kit k;
    kq_error err = {0};
    kit_open(&k);
    if (kq_program_verify(&k.program, &err)) fail_msg("%s", err.text);
    assert_true(kit_run(&k.program));
    uint32_t seen = 0; /* no operation is missing from what is tried here */
    for (size_t i = 0; i < k.program.n_steps; i++) seen |= 1u << k.program.steps[i].op;
    assert_int_equal(seen, (1u << KQ_N_OPS) - 1);
    kit_close(&k);
}

/* Each case breaks one thing; the text of the error must name it. */
#define REFUSED(what, expected)                                                                \
    do {                                                                                       \
        kit k;                                                                                 \
        kq_error err = {0};                                                                    \
        kit_open(&k);                                                                          \
        kq_program *p = &k.program;                                                            \
        what;                                                                                  \
        assert_int_equal(kq_program_verify(p, &err), KQ_E_PROGRAM);                            \
        if (!strstr(err.text, expected)) fail_msg("%s: says \"%s\"", #what, err.text);         \
        kit_close(&k);                                                                         \
    } while (0)

static size_t step_of(const kq_program *p, kq_op op) {
    size_t i = 0;
    while (i < p->n_steps && p->steps[i].op != op) i++;
    assert_true(i < p->n_steps);
    return i;
}
#define STEP(op) p->steps[step_of(p, KQ_OP_##op)]
#define SLOT(kind, name) p->slots[kq_program_find(p, KQ_SLOT_##kind, name)]

static void refused(void **state) {
    (void)state;
    /* slots */
    REFUSED(p->slots[0].n_dims = 0, "dimensions");
    REFUSED(p->slots[0].n_dims = 5, "dimensions");
    REFUSED(p->slots[0].dims[0] = 0, "dimension out of range");
    REFUSED(p->slots[0].dims[0] = -4, "dimension out of range");
    REFUSED(p->slots[0].dims[0] = INT64_MIN, "dimension out of range");
    REFUSED(SLOT(WEIGHT, "w").dims[0] = KQ_SYM_T, "dimension out of range");
    REFUSED(SLOT(WEIGHT, "w").dims[0] = 5, "bytes");
    REFUSED(SLOT(WEIGHT, "w").dims[0] = (int64_t)1 << 40, "");
    REFUSED(SLOT(WEIGHT, "w").bytes--, "bytes");
    REFUSED(SLOT(WEIGHT, "w").codec = KQ_Q4_0, "whole blocks");
    REFUSED(SLOT(WEIGHT, "w").codec = KQ_I32, "codec");
    REFUSED(SLOT(WEIGHT, "w").codec = UINT32_MAX, "codec");
    REFUSED(SLOT(WEIGHT, "w").data = NULL, "no data");
    REFUSED(SLOT(WEIGHT, "w").type = KQ_T_F32, "another type");
    REFUSED(SLOT(WEIGHT, "norm").data = (const char *)SLOT(WEIGHT, "norm").data + 2, "aligned");
    REFUSED(SLOT(STATE, "cache").dims[0] = 7, "positions");
    REFUSED(SLOT(STATE, "cache").dims[1] = KQ_SYM_T, "dimension out of range");
    REFUSED(SLOT(INPUT, "tokens").limit = 0, "limit");
    REFUSED(SLOT(INPUT, "tokens").limit = (int64_t)INT32_MAX + 1, "limit");
    REFUSED(SLOT(INPUT, "tokens").limit = 7, "range");
    REFUSED(SLOT(INPUT, "tokens").limit = KQ_SYM_S, "range");
    REFUSED(SLOT(INPUT, "positions").limit = KQ_SYM_T, "fit");
    REFUSED(SLOT(INPUT, "rows").limit = KQ_SYM_S, "range");
    REFUSED(SLOT(INPUT, "tokens").kind = KQ_SLOT_NONE, "no kind");
    REFUSED(SLOT(INPUT, "tokens").kind = 6, "no kind");
    REFUSED(SLOT(INPUT, "tokens").kind = KQ_SLOT_TEMP, "before it is written");
    REFUSED(SLOT(INPUT, "tokens").type = KQ_T_F32, "limit");
    REFUSED(SLOT(INPUT, "tokens").alias = 0, "alias");
    REFUSED(SLOT(OUTPUT, "logits").dims[0] = KQ_SYM_T, "fit");
    REFUSED(SLOT(OUTPUT, "logits").dims[1] = 5, "fit");
    REFUSED(SLOT(OUTPUT, "logits").type = KQ_T_I32, "");
    /* steps */
    REFUSED(p->steps[0].op = KQ_N_OPS, "no operation");
    REFUSED(p->steps[0].op = UINT16_MAX, "no operation");
    REFUSED(STEP(embed).in[0] = UINT32_MAX - 1, "no such slot");
    REFUSED(STEP(embed).in[0] = KQ_NO_SLOT, "no such slot");
    REFUSED(STEP(embed).in[1] = STEP(embed).in[0], "not i32");
    REFUSED(STEP(embed).in[3] = 0, "too many");
    REFUSED(STEP(embed).out = UINT32_MAX, "no such slot");
    REFUSED(STEP(embed).out = STEP(embed).in[0], "not its to write");
    REFUSED(STEP(rms_norm).in[0] = STEP(rms_norm).out, "before it is written");
    REFUSED(STEP(rms_norm).out = STEP(embed).out, "twice");
    REFUSED(STEP(rms_norm).attr[0].f = NAN, "finite");
    REFUSED(STEP(rms_norm).attr[0].f = -1.0, "0<=eps");
    REFUSED(STEP(rope).attr[0].i = 0, "2<=n_rot");
    REFUSED(STEP(rope).attr[0].i = 3, "2|n_rot");
    REFUSED(STEP(rope).attr[0].i = 6, "n_rot<=D");
    REFUSED(STEP(rope).attr[0].i = INT64_MIN, "2<=n_rot");
    REFUSED(STEP(rope).attr[1].i = 2, "style<=1");
    REFUSED(STEP(rope).attr[2].f = 0.0, "0<base");
    REFUSED(STEP(rope).in[2] = STEP(rms_norm).in[1], "2F=n_rot");
    REFUSED(STEP(rope).in[2] = STEP(embed).in[0], "another number");
    REFUSED(STEP(cache_write).out = STEP(embed).in[0], "not the slot");
    REFUSED(STEP(cache_write).in[2] = STEP(cache_write).out = STEP(embed).in[0], "not state");
    REFUSED(STEP(attention).attr[1].i = -1, "0<=window");
    REFUSED(STEP(add).in[1] = STEP(add).in[0] = STEP(attention).out, "fit");
    REFUSED(STEP(reshape).in[0] = STEP(embed).out, "no temporary");
    REFUSED(STEP(linear).in[1] = p->steps[p->n_steps - 1].out, "reads an output");
    REFUSED(STEP(pick_rows).in[1] = STEP(embed).in[1], "range");
    REFUSED(p->n_steps--, "nothing writes it");
    REFUSED(p->n_steps = 0, "nothing writes it");
}

/* ---- mutations ----------------------------------------------------------------------------------------------------- */

static size_t n_refused, n_run;

static void judge(const kq_program *p) {
    kq_error err = {0};
    kq_status status = kq_program_verify(p, &err);
    if (status) {
        assert_int_equal(status, KQ_E_PROGRAM);
        assert_true(err.text[0] != 0);
        n_refused++;
    } else {
        n_run++;
        kit_run(p);
    }
}

static const int64_t values[] = {0, 1, -1, 2, -2, 3, -3, 4, -4, 5, 7, 8, 16, 255, 256, 65535, 65536, INT32_MAX, INT32_MIN, UINT32_MAX,
                                 (int64_t)1 << 40, ((int64_t)1 << 40) + 1, INT64_MAX, INT64_MIN};

/* Every number of every slot and step, one after another, becomes each of `values` and each neighbour of what it was. */
#define MUTATE(field)                                                                   \
    do {                                                                                \
        __typeof__(field) before = (field);                                             \
        for (size_t v_ = 0; v_ < KQ_COUNT(values) + 2; v_++) {                          \
            (field) = v_ < KQ_COUNT(values) ? (__typeof__(field))values[v_]             \
                                            : (__typeof__(field))(before + (v_ % 2 ? 1 : (__typeof__(field)) - 1)); \
            judge(p);                                                                   \
        }                                                                               \
        (field) = before;                                                               \
    } while (0)

static void mutated(void **state) {
    (void)state;
    kit whole;
    kit_open(&whole);
    kq_program *p = &whole.program;
    n_refused = n_run = 0;
    for (size_t i = 0; i < p->n_slots; i++) {
        kq_slot *s = &p->slots[i];
        MUTATE(s->kind);
        MUTATE(s->type);
        MUTATE(s->n_dims);
        MUTATE(s->codec);
        MUTATE(s->limit);
        MUTATE(s->bytes);
        MUTATE(s->alias);
        for (int d = 0; d < KQ_MAX_DIMS; d++) MUTATE(s->dims[d]);
    }
    for (size_t i = 0; i < p->n_steps; i++) {
        kq_step *s = &p->steps[i];
        MUTATE(s->op);
        MUTATE(s->layer);
        MUTATE(s->out);
        for (int k = 0; k < KQ_MAX_INPUTS; k++) {
            MUTATE(s->in[k]);
            for (uint32_t other = 0; other < p->n_slots; other++) { /* and every other slot */
                uint32_t before = s->in[k];
                s->in[k] = other;
                judge(p);
                s->in[k] = before;
            }
        }
        for (int k = 0; k < KQ_MAX_ATTRIBUTES; k++) MUTATE(s->attr[k].i); /* the bits of real ones too: NaN, infinities, tiny */
    }
    printf("mutations: %zu refused, %zu accepted and run\n", n_refused, n_run);
    assert_true(n_refused > 1000 && n_run > 100);
    kit_close(&whole);
}

/* Two numbers at once, at random. */
static void mutated_twice(void **state) {
    (void)state;
    kit whole;
    kit_open(&whole);
    kq_program *p = &whole.program;
    uint64_t seed = 0x9E3779B97F4A7C15;
    n_refused = n_run = 0;
    size_t slots_bytes = p->n_slots * sizeof *p->slots, steps_bytes = p->n_steps * sizeof *p->steps;
    kq_slot *slots = malloc(slots_bytes);
    kq_step *steps = malloc(steps_bytes);
    memcpy(slots, p->slots, slots_bytes);
    memcpy(steps, p->steps, steps_bytes);
    for (int round = 0; round < 20000; round++) {
        for (int k = 0; k < 2; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint32_t r = (uint32_t)(seed >> 33);
            kq_slot *s = &p->slots[r % p->n_slots];
            kq_step *t = &p->steps[r % p->n_steps];
            int64_t small_number = (int64_t)(r >> 8 & 15) - 3;
            switch (r >> 12 & 7) {
            case 0: s->dims[r >> 20 & 3] = small_number; break;
            case 1: s->limit = small_number; break;
            case 2: s->kind = r >> 20 & 7; break;
            case 3: s->type = r >> 20 & 3; break;
            case 4: t->in[(r >> 20) % KQ_MAX_INPUTS] = (r >> 16) % (uint32_t)p->n_slots; break;
            case 5: t->out = (r >> 16) % (uint32_t)p->n_slots; break;
            case 6: t->op = (uint16_t)((r >> 16) % KQ_N_OPS); break;
            default: t->attr[r >> 20 & 7].i = small_number; break;
            }
        }
        judge(p);
        memcpy(p->slots, slots, slots_bytes);
        memcpy(p->steps, steps, steps_bytes);
    }
    printf("double mutations: %zu refused, %zu accepted and run\n", n_refused, n_run);
    free(slots);
    free(steps);
    kit_close(&whole);
}

/* ---- the plan ------------------------------------------------------------------------------------------------------ */

static uint32_t root_of(const kq_program *p, uint32_t i) {
    while (p->slots[i].alias != KQ_NO_SLOT) i = p->slots[i].alias;
    return i;
}

/* Brute force: a temporary is alive from the step that writes it to the last that reads it or one of its reshapes. Two that are alive at the
 * same step may share memory only if the step may write the one over the other. */
static void check_plan(const kq_program *p, const kq_symbols *symbols) {
    const kq_allocator a = kq_allocator_of(NULL);
    kq_plan plan;
    kq_error err = {0};
    assert_int_equal(kq_plan_make(&plan, p, symbols, &a, &err), KQ_OK);
    size_t *first = calloc(p->n_slots, sizeof *first), *last = calloc(p->n_slots, sizeof *last);
    uint64_t *size = calloc(p->n_slots, sizeof *size), sum = 0, largest = 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        const kq_step *s = &p->steps[i];
        if (s->op != KQ_OP_reshape) first[s->out] = last[s->out] = i;
        for (int k = 0; k < KQ_MAX_INPUTS; k++) {
            if (s->in[k] != KQ_NO_SLOT) last[root_of(p, s->in[k])] = i;
        }
    }
    for (uint32_t i = 0; i < p->n_slots; i++) {
        if (p->slots[i].kind != KQ_SLOT_TEMP) {
            assert_true(plan.offset[i] == KQ_NO_OFFSET);
            continue;
        }
        assert_true(kq_slot_bytes(&p->slots[i], symbols, &size[i]));
        assert_true(plan.offset[i] % 64 == 0);
        assert_true(plan.offset[i] + size[i] <= plan.bytes);
        if (root_of(p, i) != i) {
            assert_true(plan.offset[i] == plan.offset[root_of(p, i)]);
            continue;
        }
        sum += (size[i] + 63) / 64 * 64;
        largest = KQ_MAX(largest, size[i]);
    }
    size_t shared = 0;
    for (uint32_t i = 0; i < p->n_slots; i++) {
        for (uint32_t j = 0; j < p->n_slots; j++) {
            bool roots = p->slots[i].kind == KQ_SLOT_TEMP && p->slots[j].kind == KQ_SLOT_TEMP && root_of(p, i) == i && root_of(p, j) == j;
            if (i == j || !roots || first[i] > first[j] || last[i] < first[j]) continue; /* i is there when j is written */
            if (plan.offset[i] + size[i] <= plan.offset[j] || plan.offset[j] + size[j] <= plan.offset[i]) continue;
            const kq_step *s = &p->steps[first[j]];
            bool in_place = (s->op == KQ_OP_add || s->op == KQ_OP_silu_mul || s->op == KQ_OP_gelu_mul) && root_of(p, s->in[0]) == i &&
                            last[i] == first[j] && plan.offset[i] == plan.offset[j] && size[i] == size[j];
            if (!in_place) fail_msg("slots %u and %u overlap", i, j);
            shared++;
        }
    }
    assert_true(plan.bytes >= largest && plan.bytes <= sum);
    printf("plan: %llu bytes, all temporaries %llu, the largest %llu; %zu in place\n", (unsigned long long)plan.bytes,
           (unsigned long long)sum, (unsigned long long)largest, shared);
    free(first);
    free(last);
    free(size);
    kq_plan_free(&plan, &a);
}

static void plans(void **state) {
    (void)state;
    static const char *const names[] = {"llama-dense", "llama-moe", "qwen3moe-moe", "gemma3-dense"};
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        spec *s = spec_open(names[i]);
        bytes file = spec_file(s, NULL);
        kq_gguf *g;
        kq_program p;
        kq_shape shape;
        kq_error err = {0};
        kq_program_init(&p, NULL);
        assert_int_equal(kq_gguf_open_memory(&g, file.data, file.size, names[i], NULL, &err), KQ_OK);
        assert_int_equal(kq_arch_build(&p, &shape, g, &err), KQ_OK);
        assert_int_equal(kq_program_verify(&p, &err), KQ_OK);
        check_plan(&p, &(kq_symbols){{512, 512, 4096}});
        check_plan(&p, &(kq_symbols){{1, 1, 1}});
        check_plan(&p, &(kq_symbols){{3, 1, 7}});
        kq_program_free(&p);
        kq_gguf_close(g);
        bytes_free(&file);
        spec_close(s);
    }
}

/* ---- signatures ---------------------------------------------------------------------------------------------------- */

static void signatures(void **state) {
    (void)state;
    for (int op = 0; op < KQ_N_OPS; op++) {
        kq_signature s;
        kq_signature_read((kq_op)op, &s);
        assert_true(s.n_in >= 1 && s.out.name[0]);
        for (size_t i = 0; i < s.n_in; i++) assert_true(s.in[i].name[0]);
    }
    kq_signature s;
    kq_signature_read(KQ_OP_rope, &s);
    assert_int_equal(s.n_in, 3);
    assert_string_equal(s.in[2].name, "f");
    assert_true(s.in[2].optional && s.in[2].type == 'v' && s.in[1].type == 'i' && s.in[1].limit == 'S');
    assert_int_equal(s.n_attr, 4);
    assert_true(!s.attr[0].real && s.attr[2].real);
    kq_signature_read(KQ_OP_add, &s);
    assert_string_equal(s.out.over, "a");
    assert_true(s.out.star && s.out.n_letters == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures), cmocka_unit_test(accepted), cmocka_unit_test(refused), cmocka_unit_test(mutated),
        cmocka_unit_test(mutated_twice), cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
