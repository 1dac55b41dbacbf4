/* SPDX-License-Identifier: MIT */
/* kquant bench --shape: models of a known shape with random weights, in a file that lives as long as the command. Speed does not depend
 * on what the weights are. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct shape {
    const char *name;
    uint32_t layers, width, ffn, heads, kv_heads, head_width, vocabulary;
    uint32_t experts, used; /* 0: none; ffn is of an expert */
} shape;
static const shape shapes[] = {
    {"llama-1b", 16, 2048, 8192, 32, 8, 64, 128256, 0, 0}, /* Llama 3.2 1B, but the output has weights of its own */
    {"moe-1b", 24, 1024, 512, 16, 8, 64, 49152, 32, 8},    /* Granite 3.0 1B-A400M, likewise, as Mixtral has its experts */
    {"tiny", 2, 256, 512, 4, 2, 64, 512, 0, 0},            /* for tests */
    {"tiny-moe", 2, 256, 256, 4, 2, 64, 512, 6, 2},
};

/* A tensor's bytes: the same rows over and over. */
typedef struct rows {
    const void *data;
    size_t bytes; /* of them */
    uint64_t total;
} rows;

static kq_status produce(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    const rows *r = ctx;
    for (uint64_t left = r->total; left;) {
        size_t n = (size_t)CLI_MIN(left, (uint64_t)r->bytes);
        kq_status status = cli_stopped() ? KQ_E_CANCELLED : put(sink, r->data, n, err);
        if (status) return status;
        left -= n;
    }
    return KQ_OK;
}

typedef struct maker {
    kq_gguf_writer *writer;
    const kq_codec_info *codec; /* NULL: Q4_K_M */
    struct {
        kq_codec codec;
        uint64_t cols;
        uint8_t *data;
        size_t bytes;
    } made[32];
    size_t n_made;
    rows sources[1024]; /* borrowed by the writer */
    size_t n_sources;
    kq_error error;
} maker;

enum { DISTINCT_ROWS = 64 };

/* experts: that many matrices; 0: one matrix, or a vector. */
static bool add(maker *m, const char *name, kq_codec codec, uint64_t experts, uint64_t n_rows, uint64_t cols) {
    const kq_codec_info *info = kq_codec_describe(codec);
    size_t i = 0;
    while (i < m->n_made && (m->made[i].codec != codec || m->made[i].cols != cols)) i++;
    if (i == m->n_made) {
        if (i == CLI_COUNT(m->made) || cols % info->block_weights) {
            return cli_fail(CLI_USAGE, "--shape: rows of %d weights are no whole blocks of %s", (int)cols, info->name) == CLI_FINE;
        }
        m->made[i].codec = codec;
        m->made[i].cols = cols;
        m->made[i].bytes = DISTINCT_ROWS * (cols / info->block_weights) * info->block_bytes;
        m->made[i].data = bench_memory(m->made[i].bytes);
        m->n_made++;
        if (bench_weights(info, DISTINCT_ROWS, cols, m->made[i].data, NULL)) return false;
    }
    uint64_t dims[3] = {cols, n_rows, experts}, n = n_rows * CLI_MAX(experts, (uint64_t)1);
    rows *r = &m->sources[m->n_sources++];
    *r = (rows){m->made[i].data, m->made[i].bytes, n * (cols / info->block_weights) * info->block_bytes};
    return !kq_gguf_writer_tensor(m->writer, name, codec, experts ? 3 : n_rows > 1 ? 2 : 1, dims, NULL, produce, r, &m->error);
}

/* llama.cpp's rule for half of the layers of attn_v and ffn_down in Q4_K_M. */
static bool has_more_bits(uint32_t i, uint32_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }

static bool add_layer(maker *m, const shape *s, uint32_t layer) {
    const uint64_t heads = (uint64_t)s->heads * s->head_width, kv = (uint64_t)s->kv_heads * s->head_width, width = s->width;
    const uint64_t experts = s->experts, ffn = s->ffn;
    const char *of = experts ? "_exps" : "";
    const struct {
        const char *name, *suffix;
        uint64_t experts, n_rows, cols;
        bool more, floats;
    } tensors[] = {
        {"attn_norm", "", 0, 1, width, false, true}, {"attn_q", "", 0, heads, width, false, false}, {"attn_k", "", 0, kv, width, false, false},
        {"attn_v", "", 0, kv, width, true, false}, {"attn_output", "", 0, width, heads, false, false}, {"ffn_norm", "", 0, 1, width, false, true},
        {"ffn_gate", of, experts, ffn, width, false, false}, {"ffn_up", of, experts, ffn, width, false, false},
        {"ffn_down", of, experts, width, ffn, true, false}, {"ffn_gate_inp", "", 0, experts, width, false, true}, /* the router's */
    };
    for (size_t i = 0; i < CLI_COUNT(tensors); i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s%s.weight", (unsigned)layer, tensors[i].name, tensors[i].suffix);
        kq_codec codec = m->codec ? m->codec->codec : tensors[i].more && has_more_bits(layer, s->layers) ? KQ_Q6_K : KQ_Q4_K;
        if (!tensors[i].n_rows) continue;
        if (!add(m, name, tensors[i].floats ? KQ_F32 : codec, tensors[i].experts, tensors[i].n_rows, tensors[i].cols)) return false;
    }
    return true;
}

static bool add_all(maker *m, const shape *s) {
    const struct { const char *key; uint32_t value; } numbers[] = {
        {"llama.block_count", s->layers}, {"llama.context_length", 8192}, {"llama.embedding_length", s->width},
        {"llama.feed_forward_length", s->ffn}, {"llama.attention.head_count", s->heads}, {"llama.attention.head_count_kv", s->kv_heads},
        {"llama.rope.dimension_count", s->head_width}, {"llama.vocab_size", s->vocabulary},
        {"llama.expert_count", s->experts}, {"llama.expert_used_count", s->used},
    };
    kq_gguf_writer *w = m->writer;
    kq_error *e = &m->error;
    if (kq_gguf_writer_string(w, "general.architecture", "llama", e) || kq_gguf_writer_string(w, "general.name", s->name, e) ||
        kq_gguf_writer_string(w, "tokenizer.ggml.model", "no_vocab", e) || kq_gguf_writer_f32(w, "llama.rope.freq_base", 500000, e) ||
        kq_gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f, e)) return false;
    for (size_t i = 0; i < CLI_COUNT(numbers); i++) {
        if (numbers[i].value && kq_gguf_writer_u32(w, numbers[i].key, numbers[i].value, e)) return false;
    }
    kq_codec codec = m->codec ? m->codec->codec : KQ_Q4_K, output = m->codec ? m->codec->codec : KQ_Q6_K;
    if (!add(m, "token_embd.weight", codec, 0, s->vocabulary, s->width) || !add(m, "output_norm.weight", KQ_F32, 0, 1, s->width) ||
        !add(m, "output.weight", output, 0, s->vocabulary, s->width)) return false;
    for (uint32_t i = 0; i < s->layers; i++) {
        if (!add_layer(m, s, i)) return false;
    }
    return !kq_gguf_writer_finish(w, e);
}

int bench_shape_make(const char *name, const kq_codec_info *codec, char *path, size_t path_size) {
    const shape *s = NULL;
    for (size_t i = 0; i < CLI_COUNT(shapes); i++) {
        if (!strcmp(shapes[i].name, name)) s = &shapes[i];
    }
    if (!s) return cli_fail(CLI_USAGE, "--shape: there are llama-1b, moe-1b, tiny and tiny-moe");
    const char *folder = getenv("TMPDIR");
    int n = snprintf(path, path_size, "%s/kquant-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    if (n < 0 || (size_t)n + sizeof "/model.gguf" > path_size || !mkdtemp(path)) return cli_fail(CLI_FAILED, "no folder can be made in TMPDIR");
    memcpy(path + n, "/model.gguf", sizeof "/model.gguf");
    maker *m = cli_alloc(1, sizeof *m);
    m->codec = codec;
    cli_bar("making the model", 0);
    bool fine = !kq_gguf_writer_open(&m->writer, path, NULL, &m->error) && add_all(m, s);
    int code = cli_stopped() ? cli_stopped_code() : fine ? CLI_FINE : m->error.status ? cli_fail_kq(path, &m->error) : CLI_FAILED;
    kq_gguf_writer_close(m->writer);
    for (size_t i = 0; i < m->n_made; i++) free(m->made[i].data);
    free(m);
    cli_bar_clear();
    if (code) bench_shape_remove(path);
    return code;
}

void bench_shape_remove(char *path) {
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
}
