/* SPDX-License-Identifier: MIT */
/* What ids are for: roles given by metadata or found by their texts, what ends generation, which tokens strip the white space beside
 * them. The lists and their order are the reference's; where it leaves the choice among several hits open, the lowest id is taken. */
#include "file/file.h"
#include "text/text.h"

enum role { EOT, EOM, FIM_PRE, FIM_SUF, FIM_MID, FIM_PAD, FIM_REP, FIM_SEP, ROLES };

static const struct {
    const char *keys[2]; /* the later one wins */
    const char *texts[12];
} roles[ROLES] = {
    [EOT] = {{"eot_token_id"},
             {"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]",
              "<｜end▁of▁sentence｜>", "<end_of_utterance>"}},
    [EOM] = {{"eom_token_id"}, {"<|eom_id|>"}},
    [FIM_PRE] = {{"fim_pre_token_id", "prefix_token_id"},
                 {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>", "<|prefix|>"}},
    [FIM_SUF] = {{"fim_suf_token_id", "suffix_token_id"},
                 {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>", "<|suffix|>"}},
    [FIM_MID] = {{"fim_mid_token_id", "middle_token_id"},
                 {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>", "<|middle|>"}},
    [FIM_PAD] = {{"fim_pad_token_id"}, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    [FIM_REP] = {{"fim_rep_token_id"}, {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    [FIM_SEP] = {{"fim_sep_token_id"}, {"<|file_sep|>"}},
};

static const char *const ends[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
    "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    "<｜end▁of▁sentence｜>", "[e~[",
};

/* gpt-oss: these must be seen by whoever reads the output */
static const char *const shown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

static int32_t find(const kq_tokenizer *t, const char *text) { return kq_vocab_find(&t->vocab, text, strlen(text)); }

static bool ends_with(const kq_tokenizer *t, const char *text) {
    int32_t id = find(t, text);
    return id != KQ_NO_TOKEN && t->vocab.is[id] & KQ_TOKEN_END;
}

static void set_end(kq_tokenizer *t, int32_t id) {
    if (id != KQ_NO_TOKEN) t->vocab.is[id] |= KQ_TOKEN_END;
}

/* part is in text; `lower`: in its lower case (ASCII) */
static bool holds(const char *text, size_t size, const char *part, bool lower) {
    size_t n = strlen(part);
    for (size_t at = 0; at + n <= size; at++) {
        size_t i = 0;
        for (; i < n; i++) {
            char c = text[at + i];
            if (lower && c >= 'A' && c <= 'Z') c = (char)(c + 'a' - 'A');
            if (c != part[i]) break;
        }
        if (i == n) return true;
    }
    return false;
}

/* An id from metadata. One out of range is no id (files write 2^32 - 1 for none): what was there stays. */
static kq_status read_id(const kq_tokenizer *t, const kq_gguf *g, const char *name, int32_t *id, kq_error *err) {
    char key[64] = "tokenizer.ggml.";
    uint64_t value = 0;
    memcpy(key + strlen(key), name, strlen(name) + 1);
    if (!kq_gguf_find(g, key)) return KQ_OK;
    KQ_TRY(kq_gguf_get_u64(g, key, 0, UINT64_MAX, &value, err));
    if (value < t->vocab.n) *id = (int32_t)value;
    return KQ_OK;
}

static kq_status read_roles(kq_tokenizer *t, const kq_gguf *g, int32_t ids[ROLES], kq_error *err) {
    KQ_TRY(read_id(t, g, "bos_token_id", &t->bos, err));
    KQ_TRY(read_id(t, g, "eos_token_id", &t->eos, err));
    for (size_t r = 0; r < ROLES; r++) {
        ids[r] = KQ_NO_TOKEN;
        for (size_t k = 0; k < 2 && roles[r].keys[k]; k++) KQ_TRY(read_id(t, g, roles[r].keys[k], &ids[r], err));
        if (ids[r] != KQ_NO_TOKEN) continue;
        for (size_t i = 0; i < KQ_COUNT(roles[r].texts) && roles[r].texts[i]; i++) {
            int32_t id = find(t, roles[r].texts[i]);
            if (id != KQ_NO_TOKEN && (ids[r] == KQ_NO_TOKEN || id < ids[r])) ids[r] = id;
        }
        if (ids[r] != KQ_NO_TOKEN) t->vocab.is[ids[r]] |= KQ_TOKEN_CONTROL;
    }
    return KQ_OK;
}

static void set_ends(kq_tokenizer *t, const int32_t ids[ROLES]) {
    uint16_t *is = t->vocab.is;
    set_end(t, ids[FIM_PAD]);
    set_end(t, ids[FIM_REP]);
    set_end(t, ids[FIM_SEP]);
    for (size_t i = 0; i < KQ_COUNT(ends); i++) {
        int32_t id = find(t, ends[i]);
        if (id != KQ_NO_TOKEN) is[id] |= KQ_TOKEN_END | KQ_TOKEN_CONTROL;
    }
    for (size_t i = 0; i < KQ_COUNT(shown); i++) {
        int32_t id = find(t, shown[i]);
        if (id != KQ_NO_TOKEN) is[id] = (uint16_t)((is[id] & KQ_TOKEN_END) | KQ_TOKEN_USER);
    }
    set_end(t, t->eos);
    set_end(t, ids[EOT]);
    set_end(t, ids[EOM]);
    /* gpt-oss: <|end|> ends a message, not the answer */
    if (ends_with(t, "<|end|>") && (ends_with(t, "<|call|>") || ends_with(t, "<|calls|>")) &&
        (ends_with(t, "<|return|>") || ends_with(t, "<|flush|>"))) {
        is[find(t, "<|end|>")] = KQ_TOKEN_USER;
    }
    /* Gemma 4, where </s> is an HTML tag */
    if (ends_with(t, "<|tool_response>") && ends_with(t, "</s>")) is[find(t, "</s>")] = KQ_TOKEN_NORMAL;
}

static kq_status set_strips(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    enum { CANDIDATE = KQ_TOKEN_CONTROL | KQ_TOKEN_USER | KQ_TOKEN_UNKNOWN };
    static const char *const jina[] = {"jina-v2-de", "jina-v2-es", "jina-v2-code"};
    static const char *const kept[] = {"<unk>", "<s>", "<|endoftext|>"};
    kq_string arch, name;
    KQ_TRY(kq_gguf_get_string_or(g, "general.architecture", "", &arch, err));
    KQ_TRY(kq_gguf_get_string_or(g, "general.name", "", &name, err));
    bool strip_mask = holds(arch.data, arch.size, "nomic-bert-moe", false) || holds(arch.data, arch.size, "jina-bert-v3", false);
    bool phi3 = holds(name.data, name.size, "phi-3", true) || holds(name.data, name.size, "phi3", true);
    bool modern_bert = holds(name.data, name.size, "modern-bert", true);
    for (size_t i = 0; i < KQ_COUNT(jina); i++) strip_mask = strip_mask || strstr(t->pre, jina[i]);
    uint16_t *is = t->vocab.is;
    int32_t mask = strip_mask ? find(t, "<mask>") : modern_bert && !phi3 ? find(t, "[MASK]") : KQ_NO_TOKEN;
    if (mask != KQ_NO_TOKEN) is[mask] |= KQ_TOKEN_LSTRIP;
    if (strip_mask || !phi3) return KQ_OK;
    for (size_t id = 0; id < t->vocab.n; id++) {
        if (is[id] & CANDIDATE) is[id] |= KQ_TOKEN_RSTRIP;
    }
    int32_t end = find(t, "</s>");
    if (end != KQ_NO_TOKEN) is[end] |= KQ_TOKEN_RSTRIP;
    for (size_t i = 0; i < KQ_COUNT(kept); i++) {
        int32_t id = find(t, kept[i]);
        if (id != KQ_NO_TOKEN) is[id] &= (uint16_t)~KQ_TOKEN_RSTRIP;
    }
    return KQ_OK;
}

kq_status kq_special_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err) {
    int32_t ids[ROLES];
    if (t->bos >= (int64_t)t->vocab.n) t->bos = KQ_NO_TOKEN;
    if (t->eos >= (int64_t)t->vocab.n) t->eos = KQ_NO_TOKEN;
    KQ_TRY(read_roles(t, g, ids, err));
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        size_t size;
        const char *text = kq_vocab_text(&t->vocab, id, &size);
        if (t->vocab.is[id] & KQ_TOKEN_CONTROL && holds(text, size, "unused", false)) t->vocab.is[id] |= KQ_TOKEN_UNUSED;
    }
    set_ends(t, ids);
    return set_strips(t, g, err);
}
