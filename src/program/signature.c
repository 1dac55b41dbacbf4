/* SPDX-License-Identifier: MIT */
/* Signatures: reads the rows of ops.def and fits slots to them. The texts are our own, so a mistake in them is an assert; the slots are
 * not. */
#include "program/program.h"

#include <math.h>
#include <stdlib.h>

/* ---- reading a row ------------------------------------------------------------------------------------------------- */

static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_name(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

static const char *read_name(const char *p, char name[12]) {
    size_t n = 0;
    for (; is_name(*p); p++) {
        assert(n < 11);
        name[n++] = *p;
    }
    name[n] = 0;
    return p;
}

/* NAME ? ~NAME :TYPE <LETTER [DIMS], all but the name optional */
static const char *read_operand(const char *p, kq_operand *o) {
    *o = (kq_operand){.type = 'f'};
    p = read_name(p, o->name);
    if (*p == '?') o->optional = true, p++;
    if (*p == '~') p = read_name(p + 1, o->over);
    if (*p == ':') o->type = p[1], p += 2;
    if (*p == '<') o->limit = p[1], p += 2;
    assert(*p == '[' && strchr("fiwvs", o->type) && (o->type == 'i') == (o->limit != 0));
    for (p++; *p != ']'; p++) {
        if (*p == '*') o->star = true;
        else if (*p == '.') o->any_dims = true;
        else if (is_upper(*p)) {
            assert(o->n_letters < KQ_MAX_DIMS);
            o->letters[o->n_letters++] = *p;
        }
    }
    return p + 1;
}

void kq_signature_read(kq_op op, kq_signature *out) {
    *out = (kq_signature){0};
    const char *p = kq_ops[op].signature;
    while (*p != '-') { /* "->" */
        assert(out->n_in < KQ_MAX_INPUTS);
        p = read_operand(p, &out->in[out->n_in++]);
        while (*p == ' ') p++;
    }
    for (p += 2; *p == ' ';) p++;
    read_operand(p, &out->out);

    for (p = kq_ops[op].attributes; *p && *p != ';';) {
        assert(out->n_attr < KQ_MAX_ATTRIBUTES);
        p = read_name(p, out->attr[out->n_attr].name);
        assert(*p == ':');
        out->attr[out->n_attr++].real = p[1] == 'f';
        for (p += 2; *p == ' ';) p++;
    }
    if (*p == ';') p++;
    while (*p == ' ') p++;
    out->conditions = p;
}

/* ---- slots and letters --------------------------------------------------------------------------------------------- */

static bool bind_letter(kq_binding *b, char letter, kq_dim d) {
    kq_dim *known = &b->letter[letter - 'A'];
    if (*known == 0) *known = d;
    return *known == d;
}

static const char *bind_type(const kq_operand *o, const kq_slot *s) {
    switch (o->type) {
    case 'f': return s->type == KQ_T_F32 ? NULL : "is not f32";
    case 'i': return s->type == KQ_T_I32 ? NULL : "is not i32";
    case 's': return s->type == KQ_T_STATE ? NULL : "is not state";
    case 'w': return s->type == KQ_T_WEIGHT ? NULL : "is not a weight";
    default: /* 'v' */
        if (s->type != KQ_T_WEIGHT || s->codec != KQ_F32) return "is not a weight in f32";
        return (uintptr_t)s->data % sizeof(float) == 0 ? NULL : "is not aligned to 4 bytes";
    }
}

const char *kq_bind(kq_binding *b, const kq_operand *o, const kq_slot *s) {
    const char *why = bind_type(o, s);
    if (why) return why;
    if (o->any_dims) return NULL;
    if (s->n_dims < o->n_letters || (!o->star && s->n_dims > o->n_letters)) return "has another number of dimensions";
    uint8_t n_star = (uint8_t)(s->n_dims - o->n_letters);
    if (o->star) {
        if (!b->star_bound) {
            b->star_bound = true;
            b->n_star = n_star;
            memcpy(b->star, s->dims, n_star * sizeof s->dims[0]);
        }
        if (b->n_star != n_star || memcmp(b->star, s->dims, n_star * sizeof s->dims[0]) != 0) return "does not fit the others";
    }
    for (int i = 0; i < o->n_letters; i++) {
        if (!bind_letter(b, o->letters[i], s->dims[n_star + i])) return "does not fit the others";
    }
    if (o->limit && !bind_letter(b, o->limit, s->limit)) {
        /* a smaller number does as well */
        kq_dim most = b->letter[o->limit - 'A'];
        if (s->limit < 0 || most < 0 || s->limit > most) return "may hold values out of range";
    }
    return NULL;
}

bool kq_infer(const kq_binding *b, const kq_operand *o, kq_slot *s) {
    size_t n_star = o->star ? b->n_star : 0;
    if (o->any_dims || n_star + o->n_letters > KQ_MAX_DIMS || n_star + o->n_letters == 0) return false;
    s->n_dims = (uint8_t)(n_star + o->n_letters);
    memcpy(s->dims, b->star, n_star * sizeof s->dims[0]);
    for (int i = 0; i < o->n_letters; i++) {
        s->dims[n_star + (size_t)i] = b->letter[o->letters[i] - 'A'];
        if (s->dims[n_star + (size_t)i] == 0) return false;
    }
    s->limit = o->limit ? b->letter[o->limit - 'A'] : 0;
    return !o->limit || s->limit != 0;
}

/* ---- conditions ---------------------------------------------------------------------------------------------------- */

typedef struct term {
    enum { ABSENT, SYMBOL, INTEGER, REAL } kind;
    int64_t i;
    double f; /* of INTEGER too */
} term;

/* [NUMBER] [LETTER or attribute]: 2F, n_rot, 0 */
static const char *read_term(const char *p, const kq_signature *s, const kq_binding *b, const kq_attribute *attr, term *t) {
    int64_t factor = 1;
    if (*p >= '0' && *p <= '9') {
        char *end;
        factor = strtoll(p, &end, 10);
        p = end;
    }
    *t = (term){.kind = INTEGER, .i = factor};
    if (is_upper(*p)) {
        kq_dim d = b->letter[*p++ - 'A'];
        t->kind = d == 0 ? ABSENT : d < 0 ? SYMBOL : INTEGER;
        t->i = d < 0 ? d : d * factor; /* dims are at most 2^40, factors small */
    } else if (is_name(*p)) {
        char name[12];
        p = read_name(p, name);
        size_t i = 0;
        while (i < s->n_attr && strcmp(s->attr[i].name, name) != 0) i++;
        assert(i < s->n_attr && factor == 1);
        if (s->attr[i].real) *t = (term){.kind = REAL, .f = attr[i].f};
        else t->i = attr[i].i;
    }
    if (t->kind == INTEGER) t->f = (double)t->i;
    return p;
}

/* Of two symbols only sameness is known; numbers compare as integers unless one is real. */
static bool holds(const term *x, char relation, bool or_equal, const term *y) {
    if (x->kind == SYMBOL || y->kind == SYMBOL) return x->kind == y->kind && x->i == y->i && (relation != '<' || or_equal);
    if (relation == '|') return x->i > 0 && y->i % x->i == 0;
    if (x->kind == REAL || y->kind == REAL) return relation == '=' ? x->f == y->f : or_equal ? x->f <= y->f : x->f < y->f;
    return relation == '=' ? x->i == y->i : or_equal ? x->i <= y->i : x->i < y->i;
}

const char *kq_conditions_check(const kq_signature *s, const kq_binding *b, const kq_attribute *attr) {
    for (const char *p = s->conditions; *p;) {
        const char *start = p;
        term x, y, z = {.kind = ABSENT};
        p = read_term(p, s, b, attr, &x);
        char relation = *p++;
        bool or_equal = relation == '<' && *p == '=';
        if (or_equal) p++;
        assert(strchr("|<=", relation));
        p = read_term(p, s, b, attr, &y);
        if (*p == '/') p = read_term(p + 1, s, b, attr, &z);
        assert(*p == ' ' || *p == 0);
        while (*p == ' ') p++;
        if (x.kind == ABSENT || y.kind == ABSENT) continue;
        if (!holds(&x, relation, or_equal, &y) && (z.kind == ABSENT || !holds(&x, relation, or_equal, &z))) return start;
    }
    return NULL;
}
