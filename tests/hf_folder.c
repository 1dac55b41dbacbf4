/* SPDX-License-Identifier: MIT */
#include "hf_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what, const char *name) {
    fprintf(stderr, "a folder of Hugging Face: %s: %s\n", name, what);
    exit(1);
}

static void *must(void *p) {
    if (!p) die("no memory", "");
    return p;
}

typedef struct maker {
    const hf_options *o;
    const kq_gguf *g;
    kq_safetensors_writer *w;
    char map[65536];     /* of per_tensor */
    void *made[65536];   /* borrowed by the writer until it is finished */
    size_t n_made;
    uint64_t n_head, n_kv;
} maker;

static void *keep(maker *m, size_t size) {
    if (m->n_made == sizeof m->made / sizeof m->made[0]) die("too many tensors", "");
    return m->made[m->n_made++] = must(malloc(size ? size : 1));
}


static uint64_t number(const maker *m, const char *key) {
    kq_string arch = {0};
    char full[128];
    uint64_t n = 0;
    kq_gguf_scalar_string(kq_gguf_find(m->g, "general.architecture"), &arch);
    snprintf(full, sizeof full, "%.*s.%s", (int)arch.size, arch.data, key);
    if (kq_gguf_get_u64(m->g, full, 1, 1 << 20, &n, NULL)) die("is missing", full);
    return n;
}

/* "blk.3.attn_q.weight" to the name in the folder; %N is the layer. */
static void spell(const maker *m, const char *name, char out[256]) {
    static const char *const rows[][2] = {{"attn_norm", "input_layernorm"}, {"attn_q", "self_attn.q_proj"}, {"attn_k", "self_attn.k_proj"},
        {"attn_v", "self_attn.v_proj"}, {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
        {"ffn_gate", "mlp.gate_proj"}, {"ffn_up", "mlp.up_proj"}, {"ffn_down", "mlp.down_proj"}, {"post_attention_norm", "post_attention_layernorm"},
        {"post_ffw_norm", "post_feedforward_layernorm"}};
    const char *prefix = m->o->language_model ? "language_model." : "";
    unsigned layer;
    char part[64], end[16];
    if (strcmp(name, "token_embd.weight") == 0) { snprintf(out, 256, "%smodel.embed_tokens.weight", prefix); return; }
    if (strcmp(name, "output_norm.weight") == 0) { snprintf(out, 256, "%smodel.norm.weight", prefix); return; }
    if (strcmp(name, "output.weight") == 0) { snprintf(out, 256, "%slm_head.weight", prefix); return; }
    if (sscanf(name, "blk.%u.%63[a-z_].%15s", &layer, part, end) != 3) { snprintf(out, 256, "%s", name); return; }
    const char *hf = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(part, rows[i][0]) == 0) hf = rows[i][1];
    }
    if (strcmp(part, "ffn_norm") == 0) hf = m->o->gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    if (strcmp(part, "ffn_gate_inp") == 0) hf = m->o->moe_in_mlp ? "mlp.gate" : "block_sparse_moe.gate";
    if (!hf) die("has no name", name);
    snprintf(out, 256, "%smodel.layers.%u.%s.%s", prefix, layer, hf, end);
}

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* Adds rows of one tensor under a name: bytes of blocks, or floats in the folder's type. dims outermost first, the last in weights. */
static void add(maker *m, const char *name, const kq_gguf_tensor *t, const uint8_t *data, uint32_t n_dims, const uint64_t *given) {
    const kq_codec_info *codec = kq_codec_describe(t->codec);
    uint64_t dims[3], rows = 1;
    if (m->o->drop && strcmp(name, m->o->drop) == 0) return;
    memcpy(dims, given, n_dims * sizeof *dims);
    if (m->o->reshape && strcmp(name, m->o->reshape) == 0) dims[0]--;
    for (uint32_t i = 0; i + 1 < n_dims; i++) rows *= dims[i];
    kq_error err = {0};
    kq_dtype dtype = m->o->dtype;
    if (codec->block_weights > 1) {
        char path[256], entry[400];
        uint64_t bytes = dims[n_dims - 1] / codec->block_weights * codec->block_bytes;
        uint8_t *copy = keep(m, rows * bytes), *scales = keep(m, 1);
        const uint64_t one = 1;
        memcpy(copy, data, rows * bytes);
        *scales = 0xa5;
        dims[n_dims - 1] = bytes;
        snprintf(path, sizeof path, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
        snprintf(entry, sizeof entry, "%s\"%s\":\"%s\"", *m->map ? "," : "", path, codec->name);
        if (strlen(m->map) + strlen(entry) >= sizeof m->map) die("map too long", name);
        strcat(m->map, entry);
        strcat(path, ".scales");
        if (kq_safetensors_writer_tensor(m->w, name, KQ_DTYPE_U8, n_dims, dims, copy, NULL, NULL, &err) ||
            kq_safetensors_writer_tensor(m->w, path, KQ_DTYPE_U8, 1, &one, scales, NULL, NULL, &err)) {
            die(err.text, name);
        }
        return;
    }
    uint64_t n = rows * dims[n_dims - 1];
    float *values = must(malloc(n * 4 + 1));
    if (kq_dequantize(t->codec, data, (size_t)(n * codec->block_bytes), n, values, n, &err)) die(err.text, name);
    for (uint64_t i = 0; m->o->gemma && ends_with(name, "norm.weight") && i < n; i++) values[i] -= 1.0f;
    uint32_t width = dtype == KQ_DTYPE_F32 ? 4 : 2;
    kq_codec to = dtype == KQ_DTYPE_F32 ? KQ_F32 : dtype == KQ_DTYPE_F16 ? KQ_F16 : KQ_BF16;
    uint8_t *bytes = keep(m, n * width);
    if (kq_quantize(to, values, n, 1, n, bytes, n * width, NULL, &err)) die(err.text, name);
    free(values);
    if (kq_safetensors_writer_tensor(m->w, name, dtype, n_dims, dims, bytes, NULL, NULL, &err)) die(err.text, name);
}

/* Rows h * D + 2 i + j go to h * D + j * D / 2 + i: adjacent pairs to halves. */
static uint8_t *to_halves(maker *m, const uint8_t *data, uint64_t rows, uint64_t row_bytes, uint64_t heads) {
    uint8_t *out = keep(m, rows * row_bytes);
    uint64_t d = rows / heads;
    for (uint64_t h = 0; h < heads; h++) {
        for (uint64_t i = 0; i < d / 2; i++) {
            for (uint64_t j = 0; j < 2; j++) {
                memcpy(out + (h * d + j * (d / 2) + i) * row_bytes, data + (h * d + 2 * i + j) * row_bytes, row_bytes);
            }
        }
    }
    return out;
}

static const char *letter(const char *kind) { return strcmp(kind, "gate") == 0 ? "w1" : strcmp(kind, "up") == 0 ? "w3" : "w2"; }

static void add_experts(maker *m, const kq_gguf_tensor *t, unsigned layer, const char *kind) {
    uint64_t n = t->dims[2], rows = t->dims[1], cols = t->dims[0], each = t->bytes / n;
    const uint8_t *data = t->data;
    char name[256];
    const char *place = m->o->moe_in_mlp ? "mlp" : "block_sparse_moe";
    if (m->o->experts == HF_SWITCH) {
        snprintf(name, sizeof name, "model.layers.%u.%s.switch_mlp.%s_proj.weight", layer, place, kind);
        add(m, name, t, data, 3, (uint64_t[]){n, rows, cols});
    } else if (m->o->experts == HF_EACH) {
        for (unsigned e = 0; e < n; e++) {
            if (m->o->moe_in_mlp) snprintf(name, sizeof name, "model.layers.%u.mlp.experts.%u.%s_proj.weight", layer, e, kind);
            else snprintf(name, sizeof name, "model.layers.%u.block_sparse_moe.experts.%u.%s.weight", layer, e, letter(kind));
            add(m, name, t, data + e * each, 2, (uint64_t[]){rows, cols});
        }
    } else if (strcmp(kind, "down") == 0) {
        snprintf(name, sizeof name, "model.layers.%u.mlp.experts.down_proj", layer);
        add(m, name, t, data, 3, (uint64_t[]){n, rows, cols});
    } else if (strcmp(kind, "gate") == 0) {
        char other[64];
        snprintf(other, sizeof other, "blk.%u.ffn_up_exps.weight", layer);
        const kq_gguf_tensor *up = kq_gguf_tensor_find(m->g, other);
        if (!up) die("is missing", other);
        uint8_t *both = keep(m, 2 * t->bytes);
        for (uint64_t e = 0; e < n; e++) {
            memcpy(both + 2 * e * each, data + e * each, each);
            memcpy(both + (2 * e + 1) * each, (const uint8_t *)up->data + e * each, each);
        }
        snprintf(name, sizeof name, "model.layers.%u.mlp.experts.gate_up_proj", layer);
        add(m, name, t, both, 3, (uint64_t[]){n, 2 * rows, cols});
    }
}

static void add_one(maker *m, const kq_gguf_tensor *t) {
    unsigned layer;
    char kind[16], name[256];
    if (sscanf(t->name.data, "blk.%u.ffn_%15[a-z]_exps.weight", &layer, kind) == 2 && t->n_dims == 3) {
        add_experts(m, t, layer, kind);
        return;
    }
    if (strncmp(t->name.data, "cls.", 4) == 0) return; /* a classifier, which is no part of the language model */
    spell(m, t->name.data, name);
    uint64_t rows = t->n_dims == 1 ? 1 : t->dims[1], columns = t->dims[0];
    const uint8_t *data = t->data;
    bool q = strstr(name, ".q_proj.") != NULL, k = strstr(name, ".k_proj.") != NULL;
    if (m->o->halves && (q || k)) {
        uint64_t units = t->n_dims == 1 ? columns : rows;
        data = to_halves(m, data, units, t->bytes / units, q ? m->n_head : m->n_kv);
    }
    uint64_t dims[2] = {rows, columns};
    add(m, name, t, data, t->n_dims, t->n_dims == 1 ? &columns : dims);
}

static void write_text(const char *folder, const char *file, const char *text) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f)) die("cannot be written", path);
}

void hf_folder_write(const char *folder, const kq_gguf *g, const char *config, const hf_options *o) {
    maker *m = must(calloc(1, sizeof *m));
    char path[1024];
    kq_error err = {0};
    kq_safetensors_options so = KQ_OPTIONS_INIT(kq_safetensors_options);
    so.max_shard_bytes = o->max_shard_bytes;
    *m = (maker){.o = o, .g = g};
    m->n_head = number(m, "attention.head_count");
    m->n_kv = number(m, "attention.head_count_kv");
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (kq_safetensors_writer_open(&m->w, path, &so, &err)) die(err.text, path);
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) add_one(m, kq_gguf_tensor_at(g, i));
    static const float zero;
    const uint64_t one[2] = {1, 1};
    const char *sight = o->language_model ? "vision_tower.patch.weight" : NULL;
    if (o->extra && kq_safetensors_writer_tensor(m->w, o->extra, KQ_DTYPE_F32, 2, one, &zero, NULL, NULL, &err)) die(err.text, path);
    if (sight && kq_safetensors_writer_tensor(m->w, sight, KQ_DTYPE_F32, 2, one, &zero, NULL, NULL, &err)) die(err.text, path);
    if (kq_safetensors_writer_finish(m->w, &err)) die(err.text, path);
    kq_safetensors_writer_close(m->w);
    char *text = must(malloc(strlen(config) + sizeof m->map));
    const char *at = strstr(config, "%s");
    sprintf(text, "%.*s%s%s", at ? (int)(at - config) : (int)strlen(config), config, at ? m->map : "", at ? at + 2 : "");
    write_text(folder, "config.json", text);
    free(text);
    for (size_t i = 0; i < m->n_made; i++) free(m->made[i]);
    free(m);
}

void hf_folder_remove(const char *folder) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (const struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    rmdir(folder);
}
