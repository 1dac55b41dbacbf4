/* SPDX-License-Identifier: MIT */
/* Which ids have a role, and whether BOS, EOS and SEP are added, from tokenizer_config.json, tokenizer.json's post-processor and config.json.
 * The order of looking is llama.cpp's, since the first hit wins. Where a token of tokenizer_config.json is an object, its content counts
 * (llama.cpp's converter compares the object with a text there, and so never finds them equal). */
#include "convert/vocabulary.h"

#include <stdio.h>

typedef unsigned long long ull; /* for printf */

enum { BOS, EOS, UNK, SEP, PAD, CLS, MASK, EOT, EOM, ROLES };

static const struct role {
    const char *name; /* in tokenizer_config.json and config.json */
    const char *key;  /* NULL: not written */
} roles[ROLES] = {
    [BOS] = {"bos", "tokenizer.ggml.bos_token_id"},       [EOS] = {"eos", "tokenizer.ggml.eos_token_id"},
    [UNK] = {"unk", "tokenizer.ggml.unknown_token_id"},   [SEP] = {"sep", "tokenizer.ggml.seperator_token_id"},
    [PAD] = {"pad", "tokenizer.ggml.padding_token_id"},   [CLS] = {"cls", NULL},
    [MASK] = {"mask", "tokenizer.ggml.mask_token_id"},    [EOT] = {"eot", "tokenizer.ggml.eot_token_id"},
    [EOM] = {"eom", "tokenizer.ggml.eom_token_id"},
};

typedef struct state {
    kq_metadata *out;
    const kq_hf_config *c;
    const kq_tokenizer_json *j;
    size_t n_tokens;
    const char *text[ROLES];  /* of the token, or NULL */
    int add[ROLES];           /* -1: nothing is said */
    int add_order[ROLES], n_adds;
    bool extra[ROLES];        /* eot and eom play a part */
} state;

static void set_add(state *s, int role, bool value) {
    if (s->add[role] < 0) s->add_order[s->n_adds++] = role;
    s->add[role] = value;
}

static const char *config_text(const state *s, const char *name) {
    char key[16];
    snprintf(key, sizeof key, "%s_token", name);
    const json_t *entry = json_object_get(s->c->tokenizer, key);
    if (json_is_object(entry)) entry = json_object_get(entry, "content");
    const char *text = json_string_value(entry);
    return text && *text ? text : NULL;
}

static bool same(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* ---- the post-processor --------------------------------------------------------------------------------------------- */

static const char *special_of(const json_t *item) { return json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id")); }
static const char *sequence_of(const json_t *item) { return json_string_value(json_object_get(json_object_get(item, "Sequence"), "id")); }

/* The last special token is what ends a text: if tokenizer_config.json names another, that one becomes the end of a turn. */
static void end_with(state *s, const char *last) {
    if (s->c->tokenizer && !same(last, s->text[EOS])) {
        int old = !s->extra[EOT] ? EOT : !s->extra[EOM] ? EOM : ROLES;
        if (old < ROLES) {
            s->extra[old] = true;
            s->text[old] = s->text[EOS];
        }
    }
    s->text[EOS] = last;
    set_add(s, EOS, true);
}

/* A [sep] [eos] B */
static void read_pair(state *s, const json_t *pair, const char *first, const char *last) {
    size_t begin = 0, end = json_array_size(pair);
    if (end && first && same(special_of(json_array_get(pair, 0)), first)) begin++;
    if (end > begin && last && same(special_of(json_array_get(pair, end - 1)), last)) end--;
    if (end < begin + 3 || !same(sequence_of(json_array_get(pair, begin)), "A") || !same(sequence_of(json_array_get(pair, end - 1)), "B")) return;
    bool add = false;
    const char *token = special_of(json_array_get(pair, begin + 1));
    if (token && !last && (same(token, s->text[SEP]) || same(token, s->text[EOS]))) add = true;
    token = end - begin == 4 ? special_of(json_array_get(pair, begin + 2)) : NULL;
    if (token && (same(token, s->text[SEP]) || same(token, s->text[EOS]))) add = true;
    set_add(s, SEP, add);
    if (add && !s->text[SEP]) s->text[SEP] = s->text[EOS];
}

static void read_template(state *s, const json_t *step) {
    const json_t *single = json_object_get(step, "single"), *pair = json_object_get(step, "pair");
    size_t n = json_array_size(single);
    const char *first = n > 1 ? special_of(json_array_get(single, 0)) : NULL, *last = n > 1 ? special_of(json_array_get(single, n - 1)) : NULL;
    if (first) {
        if (!s->c->tokenizer) s->text[BOS] = first;
        set_add(s, BOS, same(first, s->text[BOS]) || same(first, s->text[CLS]));
    }
    /* the text alone: nothing is added, even where that is the default of a kind (llama.cpp's converter leaves it to the default) */
    if (n == 1 && sequence_of(json_array_get(single, 0))) set_add(s, BOS, false);
    if (last) end_with(s, last);
    read_pair(s, pair, first, last);
}

static bool read_step(void *ctx, const char *type, const json_t *step) {
    state *s = ctx;
    if (strcmp(type, "TemplateProcessing") == 0) read_template(s, step);
    if (strcmp(type, "RobertaProcessing") == 0) {
        set_add(s, BOS, true);
        set_add(s, EOS, true);
        set_add(s, SEP, true);
        if (!s->text[CLS]) s->text[CLS] = json_string_value(json_array_get(json_object_get(step, "cls"), 0));
        if (!s->text[SEP]) s->text[SEP] = json_string_value(json_array_get(json_object_get(step, "sep"), 0));
    }
    return true;
}

/* ---- ids ------------------------------------------------------------------------------------------------------------ */

static kq_status put_id(state *s, int role, const json_t *id, kq_error *err) {
    if (!json_is_integer(id) || !roles[role].key || kq_metadata_find(s->out, roles[role].key)) return KQ_OK;
    if (json_integer_value(id) < 0) {
        return kq_fail(err, KQ_E_MODEL, "%s_token_id is %lld, must be at least 0", roles[role].name, (long long)json_integer_value(id));
    }
    if ((uint64_t)json_integer_value(id) >= s->n_tokens) return KQ_OK; /* no token: as good as none */
    return kq_metadata_u32(s->out, roles[role].key, (uint32_t)json_integer_value(id), err);
}

/* A role by the text of its token, which must be an added one. */
static kq_status put_named(state *s, int role, kq_error *err) {
    const json_t *entry;
    size_t at;
    if (!s->text[role] || !s->j) return KQ_OK;
    json_array_foreach(s->j->added, at, entry) {
        if (same(json_string_value(json_object_get(entry, "content")), s->text[role])) return put_id(s, role, json_object_get(entry, "id"), err);
    }
    return KQ_OK;
}

static kq_status put_configured(state *s, int role, kq_error *err) {
    char key[24];
    snprintf(key, sizeof key, "%s_token_id", roles[role].name);
    const json_t *id = json_object_get(s->c->root, key);
    if (!id || json_is_null(id)) id = json_object_get(s->c->text, key);
    return put_id(s, role, id, err);
}

static void read_flags(state *s) {
    for (int r = 0; r < ROLES; r++) {
        char key[24];
        snprintf(key, sizeof key, "add_%s_token", roles[r].name);
        const json_t *add = json_object_get(s->c->tokenizer, key);
        if (json_is_boolean(add)) set_add(s, r, json_is_true(add));
    }
}

kq_status kq_special_vocab_read(kq_metadata *out, kq_hf_config *c, const kq_tokenizer_json *j, size_t n_tokens, kq_error *err) {
    state s = {.out = out, .c = c, .j = j && j->root ? j : NULL, .n_tokens = n_tokens};
    for (int r = 0; r < ROLES; r++) {
        s.text[r] = r < EOT ? config_text(&s, roles[r].name) : NULL;
        s.add[r] = -1;
    }
    if (!s.text[BOS]) s.text[BOS] = s.text[CLS];
    if (!s.text[EOS]) s.text[EOS] = s.text[SEP];
    if (s.j && s.j->post_processor && !kq_json_steps(s.j->post_processor, read_step, &s)) {
        return kq_fail_at(err, KQ_E_FORMAT, s.j->path, KQ_NO_OFFSET, "post_processor has a step without type");
    }
    if (c->tokenizer) {
        read_flags(&s);
        for (int r = 0; r < ROLES; r++) KQ_TRY(put_named(&s, r, err));
    }
    for (int r = 0; r < ROLES; r++) {
        if (r < EOT || s.extra[r]) KQ_TRY(put_configured(&s, r, err));
    }
    for (int i = 0; i < s.n_adds; i++) {
        int r = s.add_order[i];
        char key[48];
        snprintf(key, sizeof key, "tokenizer.ggml.add_%s_token", roles[r].name);
        if (r == BOS || r == EOS || r == SEP) KQ_TRY(kq_metadata_bool(out, key, s.add[r], err));
    }
    return kq_chat_template_read(out, c, err);
}
