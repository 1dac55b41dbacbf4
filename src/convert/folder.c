/* SPDX-License-Identifier: MIT */
/* Opens a folder as the GGUF that it would become.
 *
 * Every tensor of the files must have a name that the family knows, the shape that the configuration promises and a type that is handled,
 * and every tensor that the family needs must be there: then each tensor of the result is one of the files', or is made of them (made.h).
 * Time and memory are linear in the number of tensors that the files hold, whatever the configuration claims. */
#include "convert/made.h"
#include "file/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

typedef unsigned long long ull; /* for printf */

/* A tensor of the result, while it is put together. */
typedef struct target {
    const kq_hf_name *row; /* of its pieces */
    const char *source;    /* the name of its first piece, for errors */
    size_t first, n;       /* its pieces */
    uint32_t layer;
    uint64_t dims[3];      /* of the first piece, outermost first, columns in weights */
    uint32_t n_dims;
    kq_codec from;
} target;

/* A tensor of the files, and the target that it is (a piece of). */
typedef struct piece {
    const kq_safetensors_tensor *tensor;
    uint32_t target, expert;
} piece;

/* The open folder. Once it is a kq_gguf, only the second half is left. */
typedef struct folder {
    kq_allocator allocator;
    kq_hf_config config;
    kq_hf_shape shape;
    kq_metadata metadata;
    const json_t *per_tensor; /* module paths to codecs; NULL: float weights */
    uint64_t n_packed;        /* of per_tensor, seen in the files */
    piece *pieces;
    size_t n_pieces, pieces_capacity;
    target *targets;
    kq_gguf_tensor *tensors;  /* beside targets; rope's factors may be one more */
    size_t n_tensors, targets_capacity, tensors_capacity;
    kq_error *err;

    kq_arena arena;
    const char *path;
    kq_safetensors *files;
    kq_strmap names;          /* GGUF names to targets */
    const uint8_t **starts;   /* pieces' data, target by target */
    kq_made *made;            /* beside targets */
    void **memory;            /* what was made at once, beside targets */
    size_t n_targets;
} folder;

static kq_status no_memory(folder *f, uint64_t bytes) { return kq_fail_memory(f->err, bytes, "a folder's tensors"); }

#define REFUSE(f, status, ...) kq_fail_at((f)->err, (status), (f)->path, KQ_NO_OFFSET, __VA_ARGS__)

/* ---- quantisation -------------------------------------------------------------------------------------------------- */

static const json_t *quantization_of(const kq_hf_config *c) {
    static const char *const names[] = {"quantization", "quantization_config"};
    const json_t *objects[] = {c->root, json_object_get(c->root, "text_config"), c->text};
    for (size_t i = 0; i < KQ_COUNT(objects); i++) {
        for (size_t j = 0; j < KQ_COUNT(names); j++) {
            const json_t *q = json_object_get(objects[i], names[j]);
            if (q && !json_is_null(q)) return q;
        }
    }
    return NULL;
}

static kq_status read_quantization(folder *f) {
    const json_t *q = quantization_of(&f->config);
    if (!q) return KQ_OK;
    const char *method = json_string_value(json_object_get(q, "quant_method")), *mode = json_string_value(json_object_get(q, "mode"));
    if (!json_is_object(q)) return kq_hf_fail(&f->config, KQ_E_MODEL, f->err, "quantization is no object");
    if (!mode || strcmp(mode, "kquant") != 0) {
        return kq_hf_fail(&f->config, KQ_E_UNSUPPORTED, f->err, "quantization is '%s', only mode 'kquant' and float weights are supported",
                          mode ? kq_show(mode, strlen(mode)).text : method ? kq_show(method, strlen(method)).text : "without mode");
    }
    f->per_tensor = json_object_get(q, "per_tensor");
    if (!json_is_object(f->per_tensor) || !json_object_size(f->per_tensor)) {
        return kq_hf_fail(&f->config, KQ_E_MODEL, f->err, "quantization.per_tensor is missing, empty or no object");
    }
    return KQ_OK;
}

/* The codec that per_tensor gives a tensor "PATH.weight" or "PATH.scales": *out is NULL when it gives none. */
static kq_status codec_of(folder *f, const char *name, const kq_codec_info **out) {
    char path[KQ_SAFETENSORS_MAX_NAME + 1];
    const char *dot = strrchr(name, '.');
    *out = NULL;
    if (!f->per_tensor || !dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".scales") != 0)) return KQ_OK;
    snprintf(path, sizeof path, "%.*s", (int)(dot - name), name);
    const json_t *codec = json_object_get(f->per_tensor, path);
    const char *text = json_string_value(codec);
    if (!codec) return KQ_OK;
    *out = text ? kq_codec_find(text) : NULL;
    if (*out && (*out)->block_weights > 1 && (*out)->decodes) return KQ_OK;
    return kq_hf_fail(&f->config, KQ_E_UNSUPPORTED, f->err, "quantization.per_tensor of '%s' is '%s', which is no codec of blocks",
                      kq_show(path, strlen(path)).text, text ? kq_show(text, strlen(text)).text : "no string");
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

/* What the text model does not use: buffers of old files, and the parts of a model that sees. Source: the converter's filters. */
static bool is_dropped(const folder *f, const char *name) {
    static const char *const sight[] = {"vision_tower.", "vision_model.", "multi_modal_projector.", "model.vision_tower.",
                                        "model.multi_modal_projector."};
    if (ends_with(name, ".rotary_emb.inv_freq") || ends_with(name, ".attention.masked_bias")) return true;
    for (size_t i = 0; i < KQ_COUNT(sight) && f->shape.class->family == KQ_HF_GEMMA3; i++) {
        if (strncmp(name, sight[i], strlen(sight[i])) == 0) return true;
    }
    return false;
}

/* The name without its "language_model.", wherever that is. */
static void clean(const char *name, char out[KQ_SAFETENSORS_MAX_NAME + 1]) {
    static const char word[] = "language_model.";
    const char *at = strstr(name, word);
    size_t before = at ? (size_t)(at - name) : strlen(name);
    memcpy(out, name, before);
    const char *rest = at ? at + sizeof word - 1 : "";
    memcpy(out + before, rest, strlen(rest) + 1); /* shorter than the name, which the reader has bounded */
}

/* The target with this GGUF name, made when it is new. */
static kq_status find_target(folder *f, const kq_hf_name *row, uint32_t layer, const kq_safetensors_tensor *t, uint32_t *out) {
    char name[KQ_GGUF_MAX_NAME + 1];
    if (!kq_hf_name_format(row->gguf, layer, 0, name, sizeof name)) return REFUSE(f, KQ_E_MODEL, "tensor '%s': its name is too long", KQ_SHOW(t->name));
    if (kq_strmap_find(&f->names, name, strlen(name), out)) {
        target *there = &f->targets[*out];
        if (there->row == row && row->how == KQ_HOW_STACK) return KQ_OK;
        return REFUSE(f, KQ_E_MODEL, "tensors '%s' and '%s' are the same", KQ_SHOW(t->name), kq_show(there->source, strlen(there->source)).text);
    }
    char *copy = kq_arena_string(&f->arena, name, strlen(name));
    bool failed = !copy || !kq_grow(&f->allocator, &f->targets, &f->targets_capacity, f->n_targets + 1, sizeof *f->targets) ||
                  !kq_grow(&f->allocator, &f->tensors, &f->tensors_capacity, f->n_targets + 1, sizeof *f->tensors);
    if (!failed) kq_strmap_add(&f->names, copy, strlen(copy), (uint32_t)f->n_targets, NULL, &failed);
    if (failed) return no_memory(f, sizeof *f->targets + sizeof *f->tensors);
    *out = (uint32_t)f->n_targets;
    f->targets[f->n_targets] = (target){.row = row, .source = t->name.data, .layer = layer};
    f->tensors[f->n_targets++] = (kq_gguf_tensor){.name = {copy, strlen(copy)}};
    return KQ_OK;
}

static kq_status add_tensor(folder *f, const kq_safetensors_tensor *t) {
    const char *name = t->name.data;
    const kq_codec_info *codec;
    char cleaned[KQ_SAFETENSORS_MAX_NAME + 1];
    KQ_TRY(codec_of(f, name, &codec));
    if (codec && ends_with(name, ".scales")) return KQ_OK; /* one byte that means nothing */
    if (is_dropped(f, name)) return KQ_OK;
    clean(name, cleaned);
    if (strlen(cleaned) != t->name.size && f->shape.class->family != KQ_HF_GEMMA3) memcpy(cleaned, name, strlen(name) + 1);
    size_t at = 0, found = 0;
    uint32_t layer, expert;
    for (const kq_hf_name *row; (row = kq_hf_name_find(f->shape.class->family, cleaned, &at, &layer, &expert)); found++) {
        if (layer >= f->shape.n_layer) {
            return REFUSE(f, KQ_E_MODEL, "tensor '%s': config.json has %llu layers (num_hidden_layers)", KQ_SHOW(t->name), (ull)f->shape.n_layer);
        }
        if (row->how == KQ_HOW_STACK && expert >= f->shape.n_expert) {
            return REFUSE(f, KQ_E_MODEL, "tensor '%s': config.json has %llu experts", KQ_SHOW(t->name), (ull)f->shape.n_expert);
        }
        piece p = {.tensor = t, .expert = row->how == KQ_HOW_STACK ? expert : 0};
        KQ_TRY(find_target(f, row, layer, t, &p.target));
        if (!kq_grow(&f->allocator, &f->pieces, &f->pieces_capacity, f->n_pieces + 1, sizeof *f->pieces)) return no_memory(f, sizeof p);
        f->pieces[f->n_pieces++] = p;
        f->targets[p.target].n++;
    }
    if (codec) f->n_packed++;
    if (found) return KQ_OK;
    return REFUSE(f, KQ_E_UNSUPPORTED, "tensor '%s' has no meaning in a %s", KQ_SHOW(t->name), f->shape.class->name);
}

/* ---- shapes -------------------------------------------------------------------------------------------------------- */

static uint64_t extent(const kq_hf_shape *s, char letter) {
    switch (letter) {
    case 'V': return s->n_vocab;
    case 'E': return s->n_embd;
    case 'Q': return s->n_head * s->head;
    case 'K': return s->n_kv * s->head;
    case 'H': return s->head;
    case 'R': return s->head / 2;
    case 'F': return s->n_ff;
    case 'M': return s->n_ff_expert;
    case 'T': return 2 * s->n_ff_expert;
    default: assert(letter == 'X'); return s->n_expert;
    }
}

/* "256 x 128" */
static const char *shape_text(uint32_t n, const uint64_t *dims, char text[80]) {
    size_t at = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < n && at < 60; i++) at += (size_t)snprintf(text + at, 80 - at, i ? " x %llu" : "%llu", (ull)dims[i]);
    return text;
}

/* Codec and shape of one tensor of the files, which must be as its row and the configuration say. */
static kq_status measure_piece(folder *f, target *t, const kq_safetensors_tensor *piece_, bool first) {
    const kq_codec_info *codec;
    KQ_TRY(codec_of(f, piece_->name.data, &codec));
    uint64_t dims[8];
    memcpy(dims, piece_->dims, sizeof dims);
    const kq_dtype_info *dtype = kq_dtype_describe((uint32_t)piece_->dtype);
    kq_codec from = dtype->codec;
    if (codec) {
        if (piece_->dtype != KQ_DTYPE_U8 || piece_->n_dims < 2) {
            return REFUSE(f, KQ_E_MODEL, "tensor '%s' is %s of %u dims, must be U8 of 2 or 3 with codec %s", KQ_SHOW(piece_->name), dtype->name,
                          piece_->n_dims, codec->name);
        }
        uint64_t *columns = &dims[piece_->n_dims - 1];
        if (*columns % codec->block_bytes || !kq_mul(*columns / codec->block_bytes, codec->block_weights, columns)) {
            return REFUSE(f, KQ_E_MODEL, "tensor '%s' has rows of %llu bytes, no whole blocks of %u (%s)", KQ_SHOW(piece_->name),
                          (ull)piece_->dims[piece_->n_dims - 1], codec->block_bytes, codec->name);
        }
        from = codec->codec;
    } else if (piece_->dtype != KQ_DTYPE_F32 && piece_->dtype != KQ_DTYPE_F16 && piece_->dtype != KQ_DTYPE_BF16) {
        return REFUSE(f, KQ_E_UNSUPPORTED, "tensor '%s' is %s, only F32, F16 and BF16 are supported%s", KQ_SHOW(piece_->name), dtype->name,
                      f->per_tensor ? " (quantization.per_tensor has no codec for it)" : "");
    }
    uint64_t must[8] = {0};
    uint32_t n = (uint32_t)strlen(t->row->shape);
    for (uint32_t i = 0; i < n; i++) must[i] = extent(&f->shape, t->row->shape[i]);
    if (piece_->n_dims != n || memcmp(dims, must, n * sizeof *dims) != 0) {
        char is[80], wanted[80];
        return REFUSE(f, KQ_E_MODEL, "tensor '%s' is %s, must be %s by config.json", KQ_SHOW(piece_->name), shape_text(piece_->n_dims, dims, is),
                      shape_text(n, must, wanted));
    }
    if (first) {
        t->n_dims = n;
        memcpy(t->dims, dims, sizeof t->dims);
        t->from = from;
    } else if (from != t->from) {
        return REFUSE(f, KQ_E_UNSUPPORTED, "tensors '%s' and '%s' are experts of one layer in different types", KQ_SHOW(piece_->name),
                      kq_show(t->source, strlen(t->source)).text);
    }
    return KQ_OK;
}

/* Gives every target its pieces, in the order of experts. */
static kq_status collect(folder *f) {
    f->starts = kq_alloc(&f->allocator, f->n_pieces, sizeof *f->starts);
    f->made = kq_alloc(&f->allocator, f->n_targets, sizeof *f->made);
    f->memory = kq_alloc(&f->allocator, f->n_targets, sizeof *f->memory);
    if (!f->starts || !f->made || !f->memory) return no_memory(f, f->n_pieces * sizeof *f->starts + f->n_targets * sizeof *f->made);
    size_t at = 0;
    for (size_t i = 0; i < f->n_targets; i++) {
        target *t = &f->targets[i];
        t->first = at;
        at += t->n;
        if (t->row->how == KQ_HOW_STACK && t->n != f->shape.n_expert) {
            return REFUSE(f, KQ_E_MODEL, "tensor '%s': there are %zu such experts, must be %llu by config.json",
                          kq_show(t->source, strlen(t->source)).text, t->n, (ull)f->shape.n_expert);
        }
    }
    for (size_t i = 0; i < f->n_pieces; i++) { /* names are unique, and so are experts of one row: each slot is filled once */
        target *t = &f->targets[f->pieces[i].target];
        KQ_TRY(measure_piece(f, t, f->pieces[i].tensor, !t->n_dims));
        assert(f->pieces[i].expert < t->n && !f->starts[t->first + f->pieces[i].expert]);
        f->starts[t->first + f->pieces[i].expert] = f->pieces[i].tensor->data;
    }
    return KQ_OK;
}

/* ---- making -------------------------------------------------------------------------------------------------------- */

/* Source: the converter's rules of element types (research: hf-to-gguf, section 3). Packed blocks stay what they are. */
static kq_codec type_of(const target *t, const char *name) {
    if (kq_codec_describe((uint32_t)t->from)->block_weights > 1) return t->from;
    bool wide = t->n_dims <= 1 || ends_with(name, "_norm.weight") || strstr(name, "ffn_gate_inp.") || !ends_with(name, ".weight");
    return wide ? KQ_F32 : t->from;
}

/* From the target's pieces and its row: how it is made, and what it is in GGUF. */
static kq_status plan_target(folder *f, size_t i) {
    const target *t = &f->targets[i];
    kq_made *m = &f->made[i];
    kq_gguf_tensor *out = &f->tensors[i];
    const kq_hf_shape *s = &f->shape;
    bool gemma = s->class->family == KQ_HF_GEMMA3, llama = (s->class->family & (KQ_HF_LLAMA | KQ_HF_MIXTRAL)) != 0;
    uint64_t columns = t->n_dims > 1 ? t->dims[t->n_dims - 1] : 1, rows = t->n_dims == 3 ? t->dims[1] : t->dims[0];
    *m = (kq_made){.pieces = f->starts + t->first, .n_pieces = t->n, .rows = rows, .from = t->from, .to = type_of(t, out->name.data),
                   .n_matrices = t->row->how == KQ_HOW_STACK ? t->n : t->n_dims == 3 ? t->dims[0] : 1};
    KQ_TRY(kq_row_bytes((uint32_t)m->from, columns, &m->unit_in, f->err));
    KQ_TRY(kq_row_bytes((uint32_t)m->to, columns, &m->unit_out, f->err));
    if (!kq_mul(m->rows, m->unit_in, &m->stride)) return REFUSE(f, KQ_E_MODEL, "tensor '%s' is too large", KQ_SHOW(out->name));
    switch (t->row->how) {
    case KQ_HOW_NORM: m->plus_one = gemma; break;
    case KQ_HOW_PAIRS_Q: case KQ_HOW_PAIRS_K: m->head = llama ? s->head : 0; break;
    case KQ_HOW_GATE: case KQ_HOW_UP:
        m->rows /= 2;
        m->first = t->row->how == KQ_HOW_UP ? m->rows * m->unit_in : 0;
        break;
    case KQ_HOW_CUT: {
        const kq_gguf_value *tokens = kq_metadata_find(&f->metadata, "tokenizer.ggml.tokens");
        if (gemma && tokens && tokens->count && tokens->count < m->rows) m->rows = tokens->count;
        break;
    }
    default: break;
    }
    out->codec = m->to;
    out->n_dims = m->n_matrices > 1 || t->n_dims == 3 || t->row->how == KQ_HOW_STACK ? 3 : t->n_dims;
    out->dims[0] = t->n_dims > 1 ? columns : m->rows;
    out->dims[1] = out->n_dims > 1 ? m->rows : 1;
    out->dims[2] = out->n_dims > 2 ? m->n_matrices : 1;
    uint32_t align = m->to == KQ_F32 ? sizeof(float) : sizeof(uint16_t); /* what kernels load at once; files promise nothing */
    const uint8_t *at = f->starts[t->first] + m->first;
    if (kq_made_is_plain(m) && (uintptr_t)at % align == 0) out->data = at;
    return KQ_OK;
}

static kq_status make_at_once(folder *f, size_t i) {
    kq_gguf_tensor *t = &f->tensors[i];
    if (t->data) return KQ_OK;
    KQ_TRY(kq_gguf_measure(t, (uint32_t)t->codec, f->err));
    f->memory[i] = kq_alloc_raw(&f->allocator, t->bytes, 1);
    if (!f->memory[i]) return kq_fail_memory(f->err, t->bytes, "a tensor that must be made");
    kq_made_read(&f->made[i], 0, t->bytes, f->memory[i]);
    t->data = f->memory[i];
    return KQ_OK;
}

/* Every name that the family must have, layer by layer. Layers are few where the files hold few tensors: the first that lacks one ends it. */
static kq_status check_all_there(folder *f) {
    for (uint32_t layer = 0; layer < f->shape.n_layer; layer++) {
        const kq_hf_name *row;
        for (size_t i = 0; (row = kq_hf_name_at(i)); i++) {
            char name[KQ_GGUF_MAX_NAME + 1], source[KQ_SAFETENSORS_MAX_NAME + 1];
            bool must = row->need == KQ_NEED_MUST || (row->need == KQ_NEED_HEAD && !f->shape.tied);
            if (!must || !(row->families & f->shape.class->family) || (layer && !strchr(row->gguf, '#'))) continue;
            if (!kq_hf_name_format(row->gguf, layer, 0, name, sizeof name) || kq_strmap_find(&f->names, name, strlen(name), NULL)) continue;
            kq_hf_name_format(row->hf, layer, 0, source, sizeof source);
            return REFUSE(f, KQ_E_MODEL, "tensor '%s' is missing%s", kq_show(source, strlen(source)).text,
                          row->need == KQ_NEED_HEAD ? ", and tie_word_embeddings is not true" : "");
        }
    }
    return KQ_OK;
}

/* rope_freqs.weight, which no file of Hugging Face holds. */
static kq_status add_rope_factors(folder *f) {
    static const char name[] = "rope_freqs.weight";
    float *factors;
    KQ_TRY(kq_hf_rope_factors(&factors, &f->shape, &f->config, f->err));
    if (!factors || kq_strmap_find(&f->names, name, sizeof name - 1, NULL)) return KQ_OK;
    uint64_t bytes = f->shape.head / 2 * sizeof *factors;
    float *copy = kq_arena_alloc(&f->arena, bytes, 1);
    if (!copy || !kq_grow(&f->allocator, &f->tensors, &f->tensors_capacity, f->n_targets + 1, sizeof *f->tensors)) return no_memory(f, bytes);
    memcpy(copy, factors, bytes);
    f->tensors[f->n_targets] = (kq_gguf_tensor){.name = {name, sizeof name - 1}, .codec = KQ_F32, .n_dims = 1, .dims = {f->shape.head / 2, 1, 1, 1},
                                                .data = copy};
    f->n_tensors++;
    return KQ_OK;
}

/* ---- keys that follow from the tensors ----------------------------------------------------------------------------- */

/* The most common type, by bytes, as general.file_type counts them. Source: llama.h of llama.cpp (enum llama_ftype), the middle one of each. */
static uint32_t file_type(const kq_gguf_tensor *tensors, size_t n) {
    static const uint8_t types[KQ_CODEC_LIMIT] = {
        [KQ_F16] = 1, [KQ_Q4_0] = 2, [KQ_Q4_1] = 3, [KQ_Q8_0] = 7, [KQ_Q5_0] = 8, [KQ_Q5_1] = 9, [KQ_Q2_K] = 10, [KQ_Q3_K] = 12, [KQ_Q4_K] = 15,
        [KQ_Q5_K] = 17, [KQ_Q6_K] = 18, [KQ_IQ2_XXS] = 19, [KQ_IQ2_XS] = 20, [KQ_IQ3_XXS] = 23, [KQ_IQ1_S] = 24, [KQ_IQ4_NL] = 25, [KQ_IQ3_S] = 26,
        [KQ_IQ2_S] = 28, [KQ_IQ4_XS] = 30, [KQ_IQ1_M] = 31, [KQ_BF16] = 32, [KQ_TQ1_0] = 36, [KQ_TQ2_0] = 37, [KQ_MXFP4] = 38, [KQ_NVFP4] = 39};
    double bytes[KQ_CODEC_LIMIT] = {0};
    uint32_t best = KQ_F32;
    for (size_t i = 0; i < n; i++) {
        const kq_gguf_tensor *t = &tensors[i];
        bytes[t->codec] += (double)t->dims[0] * (double)t->dims[1] * (double)t->dims[2];
    }
    for (uint32_t c = 0; c < KQ_CODEC_LIMIT; c++) {
        if (bytes[c] > bytes[best]) best = c;
    }
    return types[best];
}

/* "8.0B", "30B", "8x7B": two digits at least. Source: gguf-py's size_label. */
static void size_label(const kq_hf_shape *s, const kq_gguf_tensor *tensors, size_t n, char out[40]) {
    static const struct {
        double unit;
        char letter;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    double shared = 0.0, expert = 0.0;
    for (size_t i = 0; i < n; i++) {
        const kq_gguf_tensor *t = &tensors[i];
        double weights = (double)t->dims[0] * (double)t->dims[1] * (double)t->dims[2];
        if (strstr(t->name.data, "_exps.")) expert += weights / (double)s->n_expert;
        else shared += weights;
    }
    double sum = shared + expert;
    size_t u = 0;
    while (u < 3 && sum <= units[u].unit) u++;
    char count[24] = "";
    if (s->n_expert) snprintf(count, sizeof count, "%llux", (ull)s->n_expert);
    double scaled = sum / units[u].unit;
    snprintf(out, 40, "%s%.*f%c", count, scaled <= 0.5 ? 2 : scaled < 9.5 ? 1 : 0, scaled, units[u].letter);
}

static kq_status fill_in(folder *f) {
    char label[40];
    size_label(&f->shape, f->tensors, f->n_tensors, label);
    KQ_TRY(kq_metadata_string(&f->metadata, "general.size_label", label, f->err));
    return kq_metadata_u32(&f->metadata, "general.file_type", file_type(f->tensors, f->n_tensors), f->err);
}

/* ---- the open folder ----------------------------------------------------------------------------------------------- */

static kq_status folder_read(void *object, const kq_gguf_tensor *t, uint64_t offset, uint64_t size, void *dst, kq_error *err) {
    const folder *f = object;
    uint32_t at = 0;
    if (!kq_strmap_find(&f->names, t->name.data, t->name.size, &at)) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s' is none of this model", KQ_SHOW(t->name));
    }
    kq_made_read(&f->made[at], offset, size, dst);
    return KQ_OK;
}

/* Any file of the folder is its own, the tokenizer's too, and the folder itself. */
static void folder_release(void *object) {
    const folder *f = object;
    kq_safetensors_release(f->files);
}
static bool folder_is_file(void *object, const char *path) {
    const folder *f = object;
    struct stat asked, have;
    if (stat(path, &asked)) return false;
    DIR *d = opendir(f->path);
    if (!d) return kq_safetensors_is_file(f->files, path);
    bool found = fstat(dirfd(d), &have) == 0 && have.st_dev == asked.st_dev && have.st_ino == asked.st_ino;
    for (const struct dirent *e; !found && (e = readdir(d));) {
        if (fstatat(dirfd(d), e->d_name, &have, 0) || !S_ISREG(have.st_mode)) continue;
        found = have.st_dev == asked.st_dev && have.st_ino == asked.st_ino;
    }
    closedir(d);
    return found || kq_safetensors_is_file(f->files, path);
}

/* Frees what is needed only while it is opened. */
static void folder_settle(folder *f) {
    kq_hf_config_close(&f->config);
    kq_metadata_free(&f->metadata);
    kq_free(&f->allocator, f->pieces);
    kq_free(&f->allocator, f->targets);
    kq_free(&f->allocator, f->tensors);
    f->pieces = NULL;
    f->targets = NULL;
    f->tensors = NULL;
    f->per_tensor = NULL;
    f->err = NULL;
}

static void folder_close(void *object) {
    folder *f = object;
    kq_allocator a = f->allocator;
    folder_settle(f);
    for (size_t i = 0; i < f->n_targets && f->memory; i++) kq_free(&a, f->memory[i]);
    kq_free(&a, f->memory);
    kq_free(&a, f->made);
    kq_free(&a, f->starts);
    kq_strmap_free(&f->names);
    kq_safetensors_close(f->files);
    kq_arena_free(&f->arena);
    kq_free(&a, f);
}

static kq_status check_map(folder *f) {
    const char *path;
    json_t *codec;
    if (!f->per_tensor || f->n_packed == json_object_size(f->per_tensor)) return KQ_OK;
    json_object_foreach((json_t *)(uintptr_t)f->per_tensor, path, codec) {
        char name[KQ_SAFETENSORS_MAX_NAME + 1];
        int n = snprintf(name, sizeof name, "%s.weight", path);
        if (n > 0 && (size_t)n < sizeof name && kq_safetensors_tensor_find(f->files, name)) continue;
        return kq_hf_fail(&f->config, KQ_E_MODEL, f->err, "quantization.per_tensor of '%s' names no tensor", kq_show(path, strlen(path)).text);
    }
    return KQ_OK;
}

static kq_status read_tensors(folder *f, bool lazy) {
    kq_safetensors_options so = KQ_OPTIONS_INIT(kq_safetensors_options);
    so.allocator = &f->allocator;
    KQ_TRY(kq_safetensors_open(&f->files, f->path, &so, f->err));
    size_t n = kq_safetensors_n_tensors(f->files);
    for (size_t i = 0; i < n; i++) KQ_TRY(add_tensor(f, kq_safetensors_tensor_at(f->files, i)));
    KQ_TRY(check_map(f));
    KQ_TRY(check_all_there(f));
    KQ_TRY(collect(f));
    for (size_t i = 0; i < f->n_targets; i++) KQ_TRY(plan_target(f, i));
    for (size_t i = 0; i < f->n_targets && !lazy; i++) KQ_TRY(make_at_once(f, i));
    f->n_tensors = f->n_targets;
    KQ_TRY(add_rope_factors(f));
    return fill_in(f);
}

static kq_status read_folder(folder *f, const char *path, const kq_source_options *o) {
    f->path = kq_arena_string(&f->arena, path, strlen(path));
    if (!f->path || !kq_strmap_init(&f->names, &f->allocator, 256)) return no_memory(f, strlen(path) + 512 * sizeof *f->names.slots);
    KQ_TRY(kq_hf_config_open(&f->config, path, &f->allocator, f->err));
    KQ_TRY(kq_hf_shape_read(&f->shape, &f->config, f->err));
    KQ_TRY(kq_metadata_init(&f->metadata, &f->allocator, f->err));
    KQ_TRY(read_quantization(f));
    KQ_TRY(kq_hf_keys(&f->metadata, &f->shape, &f->config, f->err));
    if (!o->no_vocabulary) KQ_TRY(kq_vocabulary_read(&f->metadata, &f->config, f->err));
    return read_tensors(f, o->lazy);
}

kq_status kq_folder_open(kq_gguf **out, const char *path, const kq_source_options *o, kq_error *err) {
    kq_allocator a = kq_allocator_of(o->allocator);
    folder *f = kq_alloc(&a, 1, sizeof *f);
    if (!f) return kq_fail_memory(err, sizeof *f, "an open folder");
    f->allocator = a;
    f->err = err;
    kq_arena_init(&f->arena, &a);
    kq_status status = read_folder(f, path, o);
    if (status) {
        folder_close(f);
        return status;
    }
    const kq_gguf_owner owner = {.object = f, .read = folder_read, .is_file = folder_is_file, .close = folder_close,
                                 .release = folder_release, .stamp = kq_safetensors_stamp(f->files),
                                 .form = f->per_tensor ? "mlx-kquant" : "huggingface", .file_bytes = kq_safetensors_file_bytes(f->files),
                                 .n_files = (uint32_t)kq_safetensors_n_shards(f->files)};
    status = kq_gguf_assemble(out, path, &f->metadata, f->tensors, f->n_tensors, &owner, &a, err);
    if (!status) folder_settle(f);
    return status;
}
