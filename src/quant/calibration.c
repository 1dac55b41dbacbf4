/* SPDX-License-Identifier: MIT */
/* Calibration: what meets the columns of each weight, squared and summed.
 *
 * The weights are known from the program when a calibration opens, so all memory is taken then and nothing while a session runs. Sums are
 * in double: those of llama.cpp, in float, lose about 1e-5 over 10^5 rows. A row that holds NaN or infinity is left out and counted as such:
 * one of them would spoil the sums of all rows.
 * Source of what is collected and counted: llama.cpp's llama-imatrix. */
#include "engine/engine.h"
#include "file/file.h"

#include <kquant/measure.h>

#include <float.h>

typedef struct entry {
    const char *name;  /* the program's */
    uint64_t columns, groups;
    double *sums;      /* [groups][columns] */
    uint64_t *counts;  /* [groups] */
    uint64_t not_finite;
} entry;

struct kq_calibration {
    kq_allocator allocator;
    kq_arena arena; /* sums and counts */
    kq_strmap names;
    entry *entries;
    size_t n_entries, capacity;
    uint64_t largest; /* values of an entry */
};

/* ---- open, close --------------------------------------------------------------------------------------------------- */

static kq_status add_entry(kq_calibration *c, const kq_slot *w, kq_error *err) {
    bool failed = false;
    if (!kq_grow(&c->allocator, &c->entries, &c->capacity, c->n_entries + 1, sizeof *c->entries)) {
        return kq_fail_memory(err, (c->n_entries + 1) * sizeof *c->entries, "a calibration");
    }
    if (!kq_strmap_add(&c->names, w->name, strlen(w->name), (uint32_t)c->n_entries, NULL, &failed)) {
        return failed ? kq_fail_memory(err, sizeof(kq_strmap_slot), "a calibration") : KQ_OK; /* two steps may share a weight */
    }
    entry e = {.name = w->name, .columns = (uint64_t)w->dims[w->n_dims - 1], .groups = w->n_dims == 3 ? (uint64_t)w->dims[0] : 1};
    uint64_t values;
    if (!kq_mul(e.columns, e.groups, &values)) return kq_fail(err, KQ_E_LIMIT, "tensor '%s' has too many columns", w->name);
    e.sums = kq_arena_alloc(&c->arena, values, sizeof *e.sums);
    e.counts = kq_arena_alloc(&c->arena, e.groups, sizeof *e.counts);
    if (!e.sums || !e.counts) return kq_fail_memory(err, values * sizeof *e.sums, "a calibration");
    c->largest = KQ_MAX(c->largest, values);
    c->entries[c->n_entries++] = e;
    return KQ_OK;
}

static kq_status add_entries(kq_calibration *c, const kq_program *p, bool output, kq_error *err) {
    for (size_t i = 0; i < p->n_steps; i++) {
        if (p->steps[i].op != KQ_OP_linear && p->steps[i].op != KQ_OP_linear_gather) continue;
        const kq_slot *w = &p->slots[p->steps[i].in[0]];
        bool wanted = strncmp(w->name, "blk.", 4) == 0 || (output && strcmp(w->name, "output.weight") == 0);
        if (wanted) KQ_TRY(add_entry(c, w, err));
    }
    return KQ_OK;
}

kq_status kq_calibration_open(kq_calibration **out, const kq_model *m, const kq_calibration_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_calibration_open: out is NULL");
    *out = NULL;
    if (!m) return kq_fail(err, KQ_E_ARGUMENT, "kq_calibration_open: model is NULL");
    kq_calibration_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_calibration *c = kq_alloc(&a, 1, sizeof *c);
    if (!c) return kq_fail_memory(err, sizeof *c, "a calibration");
    c->allocator = a;
    kq_arena_init(&c->arena, &a);
    kq_status status = kq_strmap_init(&c->names, &a, 64) ? KQ_OK : kq_fail_memory(err, 64 * sizeof(kq_strmap_slot), "a calibration");
    if (!status) status = add_entries(c, &m->program, o.output, err);
    if (status) kq_calibration_close(c);
    else *out = c;
    return status;
}

void kq_calibration_close(kq_calibration *c) {
    if (!c) return;
    kq_allocator a = c->allocator;
    kq_strmap_free(&c->names);
    kq_arena_free(&c->arena);
    kq_free(&a, c->entries);
    kq_free(&a, c);
}

/* ---- collecting ---------------------------------------------------------------------------------------------------- */

static void add_row(entry *e, uint64_t group, const float *x) {
    bool finite = true;
    for (uint64_t i = 0; i < e->columns; i++) finite &= __builtin_fabsf(x[i]) <= FLT_MAX; /* false for NaN */
    if (!finite) {
        e->not_finite++;
        return;
    }
    double *restrict sums = e->sums + group * e->columns;
    for (uint64_t i = 0; i < e->columns; i++) sums[i] += (double)x[i] * (double)x[i];
    e->counts[group]++;
}

void kq_calibration_observe(void *ctx, const kq_observation *o) {
    kq_calibration *c = ctx;
    uint32_t at;
    if (!kq_strmap_find(&c->names, o->weight, strlen(o->weight), &at)) return;
    entry *e = &c->entries[at];
    if (o->n_cols != e->columns || (o->n_experts ? o->n_experts : 1) != e->groups) return; /* another model's */
    for (size_t t = 0; t < o->n_tokens; t++) {
        if (!o->n_experts) add_row(e, 0, o->x + t * o->n_cols);
        for (size_t u = 0; u < o->n_used; u++) {
            int32_t expert = o->experts[t * o->n_used + u];
            size_t row = o->n_x == 1 ? t : t * o->n_used + u;
            if (expert >= 0 && (uint64_t)expert < e->groups) add_row(e, (uint64_t)expert, o->x + row * o->n_cols);
        }
    }
}

size_t kq_calibration_n_entries(const kq_calibration *c) { return c->n_entries; }
bool kq_calibration_entry_at(const kq_calibration *c, size_t i, kq_calibration_entry *out) {
    if (i >= c->n_entries) return false;
    const entry *e = &c->entries[i];
    *out = (kq_calibration_entry){e->name, e->columns, e->groups, e->counts, e->not_finite};
    return true;
}

/* ---- matrices in and out ------------------------------------------------------------------------------------------- */

static kq_status check_merge(const kq_calibration *c, const kq_imatrix *im, kq_error *err) {
    if (kq_imatrix_form_of(im) == KQ_IMATRIX_DAT) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "an importance matrix in the old form does not count by expert, so it cannot be continued");
    }
    for (size_t i = 0; i < kq_imatrix_n_entries(im); i++) {
        const kq_imatrix_entry *from = kq_imatrix_entry_at(im, i);
        uint32_t at;
        if (!kq_strmap_find(&c->names, from->name.data, from->name.size, &at)) {
            return kq_fail(err, KQ_E_MODEL, "entry '%s' is no weight that is collected of this model", KQ_SHOW(from->name));
        }
        const entry *e = &c->entries[at];
        if (from->columns != e->columns || from->groups != e->groups) {
            return kq_fail(err, KQ_E_MODEL, "entry '%s' is %llu x %llu, the model's tensor takes %llu x %llu", KQ_SHOW(from->name),
                           (unsigned long long)from->groups, (unsigned long long)from->columns, (unsigned long long)e->groups,
                           (unsigned long long)e->columns);
        }
        for (uint64_t k = 0; k < e->columns * e->groups; k++) {
            if (from->sums[k] >= 0 && from->sums[k] <= FLT_MAX) continue; /* false for NaN */
            return kq_fail(err, KQ_E_MODEL, "entry '%s': sum %llu is %g", KQ_SHOW(from->name), (unsigned long long)k, (double)from->sums[k]);
        }
        for (uint64_t k = 0; k < e->groups; k++) {
            if (from->counts[k] >= 0 && from->counts[k] < 0x1p62f) continue;
            return kq_fail(err, KQ_E_MODEL, "entry '%s': count %llu is %g", KQ_SHOW(from->name), (unsigned long long)k, (double)from->counts[k]);
        }
    }
    return KQ_OK;
}

kq_status kq_calibration_merge(kq_calibration *c, const kq_imatrix *im, kq_error *err) {
    if (!c || !im) return kq_fail(err, KQ_E_ARGUMENT, "kq_calibration_merge: an argument is NULL");
    KQ_TRY(check_merge(c, im, err));
    for (size_t i = 0; i < kq_imatrix_n_entries(im); i++) {
        const kq_imatrix_entry *from = kq_imatrix_entry_at(im, i);
        uint32_t at = 0;
        (void)kq_strmap_find(&c->names, from->name.data, from->name.size, &at); /* checked: it is there */
        entry *e = &c->entries[at];
        for (uint64_t k = 0; k < e->columns * e->groups; k++) e->sums[k] += (double)from->sums[k];
        for (uint64_t k = 0; k < e->groups; k++) e->counts[k] += (uint64_t)((double)from->counts[k] + 0.5);
    }
    return KQ_OK;
}

kq_status kq_calibration_result(const kq_calibration *c, kq_imatrix *im, kq_error *err) {
    if (!c || !im) return kq_fail(err, KQ_E_ARGUMENT, "kq_calibration_result: an argument is NULL");
    float *values = kq_alloc_raw(&c->allocator, 2, c->largest * sizeof *values); /* sums, then counts, of which there are no more */
    if (!values) return kq_fail_memory(err, 2 * c->largest * sizeof *values, "a calibration");
    kq_status status = KQ_OK;
    for (size_t i = 0; i < c->n_entries && !status; i++) {
        const entry *e = &c->entries[i];
        float *counts = values + c->largest;
        uint64_t total = 0;
        for (uint64_t k = 0; k < e->columns * e->groups; k++) values[k] = (float)e->sums[k];
        for (uint64_t k = 0; k < e->groups; k++) {
            counts[k] = (float)e->counts[k];
            total += e->counts[k];
        }
        if (total) status = kq_imatrix_add(im, e->name, e->columns, e->groups, values, counts, err);
    }
    kq_free(&c->allocator, values);
    return status;
}
