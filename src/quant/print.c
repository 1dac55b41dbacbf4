/* SPDX-License-Identifier: MIT */
/* A plan as a recipe: the commonest codec for everything, then what differs, a line for all layers whose tensor of that name does. */
#include "quant/quant.h"

#include <stdio.h>

enum { LINE = 300 }; /* where a list of layers is broken; a rule may have 400 characters */

typedef struct group { /* tensors that one line tells of */
    size_t first, last; /* in the plan */
} group;

typedef struct printer {
    const kq_quant_plan *plan;
    kq_arena arena; /* keys */
    kq_strmap keys; /* from a name without its layer, and a codec, to groups */
    group *groups;
    size_t n_groups, capacity;
    size_t *next;   /* of a tensor in its group; itself at the end */
    kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err);
    void *sink;
    kq_error *err;
} printer;

static bool told(const kq_quant_choice *c) { return !kq_never_quantised(c->tensor); }

static const char *codec_name(const kq_quant_choice *c) {
    const kq_codec_info *info = kq_codec_describe(c->codec);
    return info->decodes ? info->name : "keep";
}

/* The codec of most tensors. */
static kq_codec commonest(const kq_quant_plan *p, bool *any) {
    size_t count[KQ_CODEC_LIMIT] = {0}, best = 0;
    *any = false;
    for (size_t i = 0; i < p->n_choices; i++) {
        if (!told(&p->choices[i])) continue;
        count[p->choices[i].codec]++;
        *any = true;
    }
    for (size_t c = 1; c < KQ_CODEC_LIMIT; c++) {
        if (count[c] > count[best]) best = c;
    }
    return (kq_codec)best;
}

/* The name as a glob: what would mean something in a recipe becomes a ?. Without the layer. */
static size_t rest_of_name(const kq_quant_choice *c, char *out, size_t capacity) {
    const char *name = c->tensor->name.data;
    if (kq_name_layer(name) >= 0) name = strchr(name + 4, '.');
    size_t n = 0;
    for (; *name && n + 1 < capacity; name++) {
        bool plain = (*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || strchr("._-/", *name);
        out[n++] = plain ? *name : '?';
    }
    out[n] = 0;
    return n;
}

static kq_status add(printer *p, size_t i) {
    const kq_quant_choice *c = &p->plan->choices[i];
    char key[KQ_GGUF_MAX_NAME + 16], rest[KQ_GGUF_MAX_NAME + 1];
    rest_of_name(c, rest, sizeof rest);
    int n = snprintf(key, sizeof key, "%d %d %s", (int)c->codec, kq_name_layer(c->tensor->name.data) >= 0, rest);
    const char *kept = kq_arena_string(&p->arena, key, (size_t)n);
    bool failed = !kept || !kq_grow(&p->arena.allocator, &p->groups, &p->capacity, p->n_groups + 1, sizeof *p->groups);
    uint32_t old;
    p->next[i] = i;
    if (!failed && kq_strmap_add(&p->keys, kept, (size_t)n, (uint32_t)p->n_groups, &old, &failed)) {
        p->groups[p->n_groups++] = (group){i, i};
    } else if (!failed) {
        p->next[p->groups[old].last] = i;
        p->groups[old].last = i;
    }
    return failed ? kq_fail_memory(p->err, sizeof key, "a recipe") : KQ_OK;
}

static kq_status put_line(printer *p, const char *layers, const char *rest, const char *codec) {
    char line[LINE + KQ_GGUF_MAX_NAME + 64];
    bool one = strpbrk(layers, ",.") == NULL;
    int n = *layers ? snprintf(line, sizeof line, one ? "blk.%s%s = %s\n" : "blk.{%s}%s = %s\n", layers, rest, codec)
                    : snprintf(line, sizeof line, "%s = %s\n", rest, codec);
    return p->put(p->sink, line, (size_t)n, p->err);
}

static kq_status put_group(printer *p, const group *g) {
    const kq_quant_choice *choices = p->plan->choices;
    char rest[KQ_GGUF_MAX_NAME + 1], layers[LINE + 32] = "";
    rest_of_name(&choices[g->first], rest, sizeof rest);
    const char *codec = codec_name(&choices[g->first]);
    if (kq_name_layer(choices[g->first].tensor->name.data) < 0) return put_line(p, "", rest, codec);
    size_t n = 0;
    for (size_t i = g->first;;) {
        int64_t low = kq_name_layer(choices[i].tensor->name.data), high = low;
        bool end;
        while (!(end = p->next[i] == i) && kq_name_layer(choices[p->next[i]].tensor->name.data) <= high + 1) {
            i = p->next[i];
            high = kq_name_layer(choices[i].tensor->name.data);
        }
        n += (size_t)snprintf(layers + n, sizeof layers - n, low == high ? "%s%lld" : "%s%lld..%lld", n ? "," : "", (long long)low, (long long)high);
        if (end || n > LINE) {
            KQ_TRY(put_line(p, layers, rest, codec));
            layers[n = 0] = 0;
        }
        if (end) return KQ_OK;
        i = p->next[i];
    }
}

static kq_status print(printer *p) {
    const kq_quant_plan *plan = p->plan;
    bool any;
    kq_codec usual = commonest(plan, &any);
    if (!any) return kq_fail(p->err, KQ_E_ARGUMENT, "the plan quantises nothing");
    bool keeps = !kq_codec_describe(usual)->decodes;
    for (size_t i = 0; i < plan->n_choices; i++) {
        if (told(&plan->choices[i]) && plan->choices[i].codec != usual) KQ_TRY(add(p, i));
    }
    char line[32];
    int n = snprintf(line, sizeof line, "* = %s\n", keeps ? "keep" : kq_codec_describe(usual)->name);
    KQ_TRY(p->put(p->sink, line, (size_t)n, p->err));
    for (size_t i = 0; i < p->n_groups; i++) KQ_TRY(put_group(p, &p->groups[i]));
    return KQ_OK;
}

kq_status kq_quant_plan_recipe(const kq_quant_plan *plan, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink,
                               kq_error *err) {
    if (!put) return kq_fail(err, KQ_E_ARGUMENT, "kq_quant_plan_recipe: put is NULL");
    printer p = {.plan = plan, .put = put, .sink = sink, .err = err};
    kq_arena_init(&p.arena, &plan->allocator);
    p.next = kq_alloc(&plan->allocator, plan->n_choices, sizeof *p.next);
    bool ready = p.next && kq_strmap_init(&p.keys, &plan->allocator, 64);
    kq_status status = ready ? print(&p) : kq_fail_memory(err, plan->n_choices * sizeof *p.next, "a recipe");
    if (ready) kq_strmap_free(&p.keys);
    kq_free(&plan->allocator, p.next);
    kq_free(&plan->allocator, p.groups);
    kq_arena_free(&p.arena);
    return status;
}
