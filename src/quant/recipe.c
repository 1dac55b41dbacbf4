/* SPDX-License-Identifier: MIT */
/* Recipes: one rule a line, `PATTERN [@CONDITION ...] = CODEC`, the last that matches wins; docs/recipes.md has the syntax. Overrides are such
 * rules too. */
#include "quant/quant.h"

#include <stdio.h>

enum { MAX_RULE = 400, MAX_RULES = 1 << 16 };

/* ---- one rule ------------------------------------------------------------------------------------------------------ */

/* The roles that a glob names. */
static uint64_t find_roles(const char *glob) {
    uint64_t roles = 0;
    for (int r = 1; r < KQ_N_ROLES; r++) {
        if (kq_glob_matches(glob, kq_role_names[r])) roles |= UINT64_C(1) << r;
    }
    return roles;
}

static kq_status read_condition(kq_rule *rule, const char *word, const char *what, kq_error *err) {
    if (strcmp(word, "@more_bits") == 0) {
        rule->more_bits = true;
        return KQ_OK;
    }
    const char *why = rule->layers ? "two conditions on layers" : kq_glob_check(word + 1);
    if (!why && strspn(word + 1, "0123456789{},.*?[-]!") != strlen(word + 1)) why = "conditions are @more_bits and @LAYERS, such as @{0..3,28..31}";
    if (why) return kq_fail(err, KQ_E_ARGUMENT, "%s: %s: %s", what, word, why);
    rule->layers = word + 1;
    return KQ_OK;
}

static kq_status read_pattern(kq_rule *rule, kq_arena *arena, const char *word, bool anywhere, const char *what, kq_error *err) {
    bool by_role = strncmp(word, "role:", 5) == 0;
    const char *glob = by_role ? word + 5 : word, *why = kq_glob_check(glob);
    if (why) return kq_fail(err, KQ_E_ARGUMENT, "%s: pattern %s: %s", what, word, why);
    if (by_role) {
        rule->roles = find_roles(glob);
        return rule->roles ? KQ_OK : kq_fail(err, KQ_E_ARGUMENT, "%s: no role is called %s", what, glob);
    }
    rule->named = strspn(glob, "*") != strlen(glob);
    char text[MAX_RULE + 3];
    snprintf(text, sizeof text, anywhere ? "*%s*" : "%s", glob);
    rule->glob = kq_arena_string(arena, text, strlen(text));
    return rule->glob ? KQ_OK : kq_fail_memory(err, strlen(text), "a recipe");
}

kq_status kq_codec_read(const char *name, const char *what, kq_codec *out, kq_error *err) {
    const kq_codec_info *info = kq_codec_find(name);
    if (!info) return kq_fail(err, KQ_E_ARGUMENT, "%s: no codec is named '%s'", what, name);
    if (!info->decodes) return kq_fail(err, KQ_E_ARGUMENT, "%s: %s holds no weights", what, info->name);
    *out = info->codec;
    return KQ_OK;
}

kq_status kq_rule_read(kq_rule *rule, kq_arena *arena, const char *left, const char *codec, bool anywhere, const char *what, kq_error *err) {
    *rule = (kq_rule){0};
    if (strlen(left) > MAX_RULE) return kq_fail(err, KQ_E_ARGUMENT, "%s: longer than %d characters", what, MAX_RULE);
    rule->text = kq_arena_string(arena, left, strlen(left));
    char *words = kq_arena_string(arena, left, strlen(left)), *rest = words;
    if (!rule->text || !words) return kq_fail_memory(err, strlen(left), "a recipe");
    char *first = strtok_r(words, " \t", &rest);
    if (!first) return kq_fail(err, KQ_E_ARGUMENT, "%s: there is no pattern", what);
    KQ_TRY(read_pattern(rule, arena, first, anywhere, what, err));
    for (char *word; (word = strtok_r(NULL, " \t", &rest));) {
        if (*word != '@') return kq_fail(err, KQ_E_ARGUMENT, "%s: '%s' is no condition: they begin with @", what, word);
        KQ_TRY(read_condition(rule, word, what, err));
    }
    rule->keep = strcmp(codec, "keep") == 0;
    return rule->keep ? KQ_OK : kq_codec_read(codec, what, &rule->codec, err);
}

bool kq_rule_matches(const kq_rule *rule, const kq_subject *s, uint64_t n_layer) {
    if (rule->roles ? !(rule->roles & s->roles) : !kq_glob_matches(rule->glob, s->tensor->name.data)) return false;
    if (!rule->more_bits && !rule->layers) return true;
    if (s->layer < 0 || (rule->more_bits && !kq_more_bits((uint64_t)s->layer, n_layer))) return false;
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)s->layer);
    return !rule->layers || kq_glob_matches(rule->layers, number);
}

/* ---- a recipe ------------------------------------------------------------------------------------------------------ */

/* Without blanks at both ends. */
static char *trim(char *s) {
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n > 0 && strchr(" \t\r", s[n - 1])) n--;
    s[n] = 0;
    return s;
}

static kq_status read_line(kq_rule *rule, kq_arena *arena, char *line, uint32_t number, kq_error *err) {
    char what[24];
    snprintf(what, sizeof what, "line %u", number);
    char *equals = strchr(line, '=');
    if (!equals) return kq_fail(err, KQ_E_ARGUMENT, "%s: no '=' in: %s", what, line);
    *equals = 0;
    KQ_TRY(kq_rule_read(rule, arena, trim(line), trim(equals + 1), false, what, err));
    rule->line = number;
    return KQ_OK;
}

static kq_status read_lines(kq_recipe *r, kq_arena *arena, char *text, kq_error *err) {
    size_t capacity = 0;
    uint32_t number = 0;
    for (char *next; text; text = next) {
        char *line = text;
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        number++;
        char *comment = strchr(line, '#');
        if (comment) *comment = 0;
        line = trim(line);
        if (!*line) continue;
        if (r->n_rules == MAX_RULES) return kq_fail(err, KQ_E_LIMIT, "line %u: more than %d rules", number, MAX_RULES);
        if (!kq_grow(&arena->allocator, &r->rules, &capacity, r->n_rules + 1, sizeof *r->rules)) {
            return kq_fail_memory(err, (r->n_rules + 1) * sizeof *r->rules, "a recipe");
        }
        KQ_TRY(read_line(&r->rules[r->n_rules], arena, line, number, err));
        r->by_role |= r->rules[r->n_rules++].roles != 0;
    }
    return r->n_rules ? KQ_OK : kq_fail(err, KQ_E_ARGUMENT, "there is no rule in it");
}

kq_status kq_recipe_read(kq_recipe *r, kq_arena *arena, const char *text, const char *name, kq_error *err) {
    *r = (kq_recipe){.name = name};
    char *copy = kq_arena_string(arena, text, strlen(text));
    if (!copy) return kq_fail_memory(err, strlen(text), "a recipe");
    return kq_recipe_named(r, read_lines(r, arena, copy, err), err);
}

kq_status kq_recipe_named(const kq_recipe *r, kq_status status, kq_error *err) {
    if (!status || status == KQ_E_MEMORY || !err) return status;
    kq_error inner = *err;
    return kq_fail_at(err, status, r->name, KQ_NO_OFFSET, "%s", inner.text);
}

const kq_rule *kq_recipe_choose(kq_recipe *r, const kq_subject *s, uint64_t n_layer, bool *named) {
    const kq_rule *last = NULL;
    *named = false;
    for (size_t i = 0; i < r->n_rules; i++) {
        if (!kq_rule_matches(&r->rules[i], s, n_layer)) continue;
        r->rules[i].met = true;
        *named |= r->rules[i].named;
        last = &r->rules[i];
    }
    return last;
}

kq_status kq_recipe_check_met(const kq_recipe *r, kq_error *err) {
    for (size_t i = 0; i < r->n_rules; i++) {
        const kq_rule *rule = &r->rules[i];
        if (rule->met || rule->roles) continue; /* roles are a closed set: a mistake in one shows when it is read */
        return kq_recipe_named(r, kq_fail(err, KQ_E_ARGUMENT, "line %u: no tensor that may be quantised matches %s", rule->line, rule->text), err);
    }
    return KQ_OK;
}

/* ---- presets ------------------------------------------------------------------------------------------------------- */

/* mlx-kquant's presets by what they mean: where its rules go by the names of modules, these go by roles. Its attention_output is our attn_output
 * whatever the module is called; its v_proj counts for fused matrices too; its .mlp.down_proj, which misses experts by its spelling, means every
 * down-projection, except in the _moe presets, which say of experts themselves what they get. */
#define ALL_DOWN "role:{ffn,shared,expert}_down"
static const kq_preset presets[] = {
    {"q2_k", "2.6 bits and more for attention's output and values",
     "* = q2_k\nrole:{output,attn_output} = q3_k\nrole:attn_{v,qkv} = q3_k\nrole:linear_attn_output = q3_k\n"},
    {"q3_k_m", "3.4 bits and more for values and half of the down-projections",
     "* = q3_k\nrole:output = q5_k\nrole:attn_{v,qkv} = q5_k\nrole:linear_attn_output = q5_k\n" ALL_DOWN " @more_bits = q5_k\n"},
    {"q4_k_s", "4.5 bits and more for values and the output",
     "* = q4_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\nrole:linear_attn_output = q5_k\n"},
    {"q4_k_m", "4.5 bits and more for values, the output and half of the down-projections",
     "* = q4_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\nrole:linear_attn_output = q5_k\n" ALL_DOWN " @more_bits = q6_k\n"},
    {"q4_k_xl", "4.5 bits and more for values, the output, all down-projections and linear attention",
     "* = q4_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\n" ALL_DOWN " = q6_k\nrole:linear_attn_output = q8_0\n"
     "role:linear_attn_qkv = q6_k\nrole:linear_attn_z = q5_k\n"},
    {"q4_k_moe", "as q4_k_m, but 4.5 bits for all experts that a router picks and 5.5 for shared ones",
     "* = q4_k\nrole:output = q6_k\nrole:shared_{gate,up,down} = q5_k\nrole:expert_* = q4_k\nrole:attn_{v,qkv} = q6_k\n"
     "role:linear_attn_output = q5_k\nrole:ffn_down @more_bits = q6_k\n"},
    {"q5_k_s", "5.5 bits and more for values and the output",
     "* = q5_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\nrole:linear_attn_output = q6_k\n"},
    {"q5_k_m", "5.5 bits and more for values, the output and half of the down-projections",
     "* = q5_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\nrole:linear_attn_output = q6_k\n" ALL_DOWN " @more_bits = q6_k\n"},
    {"q5_k_xl", "5.5 bits and more for values, the output, all down-projections and linear attention",
     "* = q5_k\nrole:output = q6_k\nrole:attn_{v,qkv} = q6_k\n" ALL_DOWN " = q6_k\nrole:linear_attn_output = q8_0\n"
     "role:linear_attn_{qkv,z} = q6_k\n"},
    {"q5_k_moe", "as q5_k_m, but 5.5 bits for all experts that a router picks and 6.6 for shared ones",
     "* = q5_k\nrole:output = q6_k\nrole:shared_{gate,up,down} = q6_k\nrole:expert_* = q5_k\nrole:attn_{v,qkv} = q6_k\n"
     "role:linear_attn_output = q6_k\nrole:ffn_down @more_bits = q6_k\n"},
    {"q6_k", "6.6 bits throughout", "* = q6_k\n"},
    {"q6_k_xl", "6.6 bits, and 8.5 for embedding, output, most of attention and half of the down-projections",
     "* = q6_k\nrole:{embedding,output} = q8_0\nrole:attn_{q,k,v,qkv} = q8_0\nrole:linear_attn_{qkv,z,output} = q8_0\n"
     ALL_DOWN " @more_bits = q8_0\n"},
    {"q8", "8.5 bits throughout", "* = q8_0\n"},
};

const kq_preset *kq_preset_at(size_t i) { return i < KQ_COUNT(presets) ? &presets[i] : NULL; }

const kq_preset *kq_preset_find(const char *name) {
    for (size_t i = 0; name && i < KQ_COUNT(presets); i++) {
        if (kq_same_name(name, presets[i].name)) return &presets[i];
    }
    return NULL;
}
