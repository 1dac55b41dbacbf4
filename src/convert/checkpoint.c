/* SPDX-License-Identifier: MIT */
/* Writes a checkpoint of mlx-kquant (mlx-lm's names and layout, weights as packed blocks): the way back of folder.c.
 *     PATH.weight  U8 [rows, bytes of a row], or [experts, rows, bytes]    PATH.scales  U8 [1], which means nothing
 * Rows of llama's q and k go back from pairs to halves, a head at a time, in whatever pieces they come. Gemma's norms lose the 1 that the GGUF
 * holds: w - 1 is exact for every w that is the f32 nearest to x + 1 with an f32 x (w >= 1/2: Sterbenz, and below 2^24 a multiple of w's last
 * place; w < 1/2: x + 1 was exact), and a w that would not come back is refused. */
#include "convert/output_folder.h"

#include "file/output.h"

#include <stdio.h>
#include <unistd.h>

/* How one tensor's bytes are changed on their way out. */
typedef struct out_tensor {
    kq_checkpoint_writer *w;
    const void *data;      /* one of data and produce */
    kq_produce produce;
    void *ctx;
    uint64_t bytes, unit, head; /* unit: bytes of a row, or of an element; head: rows that are put in order together, 0: none */
    bool minus_one;
    const char *name;
    /* while it is written */
    uint8_t *buffer, *turned; /* a head; turned NULL where nothing is reordered */
    uint64_t block, used;
    kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err);
    void *sink;
} out_tensor;

struct kq_checkpoint_writer {
    kq_allocator allocator;
    kq_arena arena;
    const kq_gguf *source;
    const kq_hf_class *class;
    uint64_t head;
    kq_output_folder folder;
    json_t *config, *per_tensor;
    bool copies, done;        /* copies: the source's own files are taken over */
    kq_safetensors_writer *files;
    uint64_t n_vocab;
    const kq_resume *given; /* NULL: it cannot be taken up again */
    kq_resume resume;       /* the same for the files, whose items are our own */
};

static const uint8_t no_scales[1];

static char *join(kq_checkpoint_writer *w, const char *folder, const char *name) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = kq_arena_alloc(&w->arena, size, 1);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

static json_t *shallow(const json_t *o) { return json_copy((json_t *)(uintptr_t)o); /* which it only reads */ }

/* The source's configuration, where it is that of a text model alone; else one made of the keys. */
static kq_status take_config(kq_checkpoint_writer *w, kq_error *err) {
    w->copies = strcmp(kq_source_form(w->source), "gguf") != 0;
    if (w->copies) {
        kq_hf_config c;
        KQ_TRY(kq_hf_config_open(&c, kq_gguf_path(w->source), &w->allocator, err));
        bool alone = c.text == c.root;
        if (alone) w->config = shallow(c.root);
        kq_hf_config_close(&c);
        if (alone && !w->config) return kq_fail_memory(err, 64, "a configuration");
    }
    return w->config ? KQ_OK : kq_hf_config_make(&w->config, w->source, err);
}

static kq_status read_source(kq_checkpoint_writer *w, kq_error *err) {
    char key[128];
    uint64_t heads = 0, width = 0;
    w->class = kq_hf_class_of_gguf(w->source);
    if (!w->class) return kq_fail(err, KQ_E_UNSUPPORTED, "the model's family has no checkpoint of mlx-kquant");
    snprintf(key, sizeof key, "%s.embedding_length", w->class->architecture);
    KQ_TRY(kq_gguf_get_u64(w->source, key, 1, INT32_MAX, &width, err));
    snprintf(key, sizeof key, "%s.attention.head_count", w->class->architecture);
    KQ_TRY(kq_gguf_get_u64(w->source, key, 1, width, &heads, err));
    snprintf(key, sizeof key, "%s.attention.key_length", w->class->architecture);
    KQ_TRY(kq_gguf_get_u64_or(w->source, key, width / heads, 2, INT32_MAX, &w->head, err));
    if (w->head % 2) return kq_fail(err, KQ_E_MODEL, "a head has %llu rows, must be even", (unsigned long long)w->head);
    return take_config(w, err);
}

static void note(void *item, double out[2]) {
    const out_tensor *t = item;
    t->w->given->note(t->ctx, out);
}
static kq_status keep(void *item, const double in[2], kq_error *err) {
    const out_tensor *t = item;
    return t->w->given->keep(t->ctx, in, err);
}

static kq_status open_writer(kq_checkpoint_writer *w, const char *folder, const kq_checkpoint_options *o, kq_error *err) {
    kq_safetensors_options so = KQ_OPTIONS_INIT(kq_safetensors_options);
    so.allocator = &w->allocator;
    so.max_shard_bytes = o->max_shard_bytes ? o->max_shard_bytes : UINT64_C(5) << 30;
    w->per_tensor = json_object();
    if (!w->per_tensor) return kq_fail_memory(err, 64, "a map of codecs");
    if (kq_gguf_is_file(w->source, folder)) return kq_fail_at(err, KQ_E_ARGUMENT, folder, KQ_NO_OFFSET, "it is the source's own folder");
    KQ_TRY(read_source(w, err));
    uint64_t identity[3] = {0};
    bool anew = false;
    if (w->given) {
        w->resume = (kq_resume){.identity = {w->given->identity[0], w->given->identity[1]}, .anew = w->given->anew, .note = note, .keep = keep};
        memcpy(identity, w->given->identity, sizeof w->given->identity);
        identity[2] = so.max_shard_bytes;
        anew = w->given->anew;
    }
    KQ_TRY(kq_output_folder_open(&w->folder, folder, w->given ? identity : NULL, anew, &w->arena, &w->allocator, err));
    const char *path = join(w, w->folder.part, "model" KQ_SAFETENSORS_SUFFIX);
    if (!path) return kq_fail_memory(err, strlen(folder), "a path");
    KQ_TRY(kq_safetensors_writer_open_resumable(&w->files, path, &so, w->given ? &w->resume : NULL, err));
    return kq_safetensors_writer_metadata(w->files, "format", "mlx", err);
}

kq_status kq_checkpoint_writer_open(kq_checkpoint_writer **out, const char *folder, const kq_gguf *source, const kq_checkpoint_options *options,
                                    kq_error *err) {
    return kq_checkpoint_writer_open_resumable(out, folder, source, options, NULL, err);
}

kq_status kq_checkpoint_writer_open_resumable(kq_checkpoint_writer **out, const char *folder, const kq_gguf *source,
                                              const kq_checkpoint_options *options, const kq_resume *resume, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_checkpoint_writer_open: out is NULL");
    *out = NULL;
    if (!folder || !*folder || !source) return kq_fail(err, KQ_E_ARGUMENT, "kq_checkpoint_writer_open: folder or source is missing");
    kq_checkpoint_options o;
    kq_options_read(&o, sizeof o, options);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_checkpoint_writer *w = kq_alloc(&a, 1, sizeof *w);
    if (!w) return kq_fail_memory(err, sizeof *w, "a checkpoint writer");
    w->allocator = a;
    w->source = source;
    w->given = resume;
    w->folder.lock = -1;
    kq_arena_init(&w->arena, &a);
    kq_status status = open_writer(w, folder, &o, err);
    if (status) kq_checkpoint_writer_close(w);
    else *out = w;
    return status;
}

void kq_checkpoint_writer_close(kq_checkpoint_writer *w) {
    if (!w) return;
    kq_allocator a = w->allocator;
    kq_safetensors_writer_close(w->files);
    kq_output_folder_close(&w->folder);
    json_decref(w->config);
    json_decref(w->per_tensor);
    kq_arena_free(&w->arena);
    kq_free(&a, w);
}

/* ---- tensors -------------------------------------------------------------------------------------------------------- */

static kq_status subtract(const out_tensor *t, uint8_t *bytes, uint64_t size, kq_error *err) {
    for (uint64_t i = 0; i < size; i += sizeof(float)) {
        float w = kq_load_f32(bytes + i), x = w - 1.0f;
        if (x + 1.0f != w && w == w) {
            return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s': %g less 1 is no f32 that gives it back", kq_show(t->name, strlen(t->name)).text,
                           (double)w);
        }
        memcpy(bytes + i, &x, sizeof x);
    }
    return KQ_OK;
}

/* One block is full: it goes out in the other order. */
static kq_status flush(out_tensor *t, kq_error *err) {
    uint8_t *from = t->buffer;
    uint64_t size = t->used;
    t->used = 0;
    if (t->minus_one) KQ_TRY(subtract(t, from, size, err));
    if (t->turned) {
        for (uint64_t row = 0; row < t->head; row++) {
            memcpy(t->turned + row * t->unit, from + kq_hf_halves_to_pairs(row, t->head) * t->unit, (size_t)t->unit);
        }
        from = t->turned;
    }
    return t->put(t->sink, from, (size_t)size, err);
}

static kq_status collect(void *sink, const void *data, size_t size, kq_error *err) {
    out_tensor *t = sink;
    const uint8_t *p = data;
    while (size) {
        size_t n = (size_t)KQ_MIN(t->block - t->used, (uint64_t)size);
        memcpy(t->buffer + t->used, p, n);
        t->used += n;
        p += n;
        size -= n;
        if (t->used == t->block) KQ_TRY(flush(t, err));
    }
    return KQ_OK;
}

static kq_status produce(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    out_tensor *t = ctx;
    const kq_allocator *a = &t->w->allocator;
    if (!t->head && !t->minus_one) return t->produce(t->ctx, put, sink, err);
    t->put = put;
    t->sink = sink;
    t->used = 0;
    t->block = t->head ? t->head * t->unit : t->bytes; /* a head of rows; a norm is small */
    t->buffer = kq_alloc_raw(a, t->block, 1);
    t->turned = t->head ? kq_alloc_raw(a, t->block, 1) : NULL;
    kq_status status = t->buffer && (t->turned || !t->head) ? KQ_OK : kq_fail_memory(err, 2 * t->block, "rows of a head");
    if (!status) status = t->produce ? t->produce(t->ctx, collect, t, err) : collect(t, t->data, (size_t)t->bytes, err);
    if (!status && t->used) status = kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': its bytes are no whole rows", kq_show(t->name, strlen(t->name)).text);
    kq_free(a, t->buffer);
    kq_free(a, t->turned);
    return status;
}

static kq_status put_scales(kq_checkpoint_writer *w, char *path, const kq_codec_info *codec, kq_error *err) {
    static const uint64_t one[1] = {1};
    size_t size = strlen(path) - strlen(".weight");
    path[size] = 0;
    if (json_object_set_new(w->per_tensor, path, json_string(codec->name))) return kq_fail_memory(err, size, "a map of codecs");
    snprintf(path + size, KQ_SAFETENSORS_MAX_NAME - size, ".scales");
    return kq_safetensors_writer_tensor(w->files, path, KQ_DTYPE_U8, 1, one, no_scales, NULL, NULL, err);
}

/* Floats keep their type; blocks become bytes. */
static bool dtype_of(kq_codec codec, kq_dtype *out) {
    if (codec == KQ_F32) *out = KQ_DTYPE_F32;
    else if (codec == KQ_F16) *out = KQ_DTYPE_F16;
    else if (codec == KQ_BF16) *out = KQ_DTYPE_BF16;
    else return false;
    return true;
}

kq_status kq_checkpoint_writer_tensor(kq_checkpoint_writer *w, const char *name, kq_codec codec, uint32_t n_dims, const uint64_t *dims,
                                      const void *data, kq_produce make, void *ctx, kq_error *err) {
    char path[KQ_SAFETENSORS_MAX_NAME + 1];
    KQ_TRY(kq_name_check("tensor", name, KQ_GGUF_MAX_NAME, err));
    kq_shown shown = kq_show(name, strlen(name));
    if (w->done || !dims || !data == !make || n_dims < 1 || n_dims > 3) {
        return kq_fail(err, KQ_E_ARGUMENT, "tensor '%s': it needs 1 to 3 dims, one of data and produce, and a writer that is not finished",
                       shown.text);
    }
    kq_gguf_tensor t = {.name = {name, strlen(name)}, .n_dims = n_dims};
    memcpy(t.dims, dims, n_dims * sizeof *dims);
    KQ_TRY(kq_gguf_measure(&t, (uint32_t)codec, err));
    const kq_codec_info *info = kq_codec_describe((uint32_t)codec);
    if (strcmp(name, "rope_freqs.weight") == 0) { /* the configuration says it, or there would be none */
        double nothing[2];
        if (w->given) w->given->note(ctx, nothing);
        return KQ_OK;
    }
    const kq_hf_name *row = kq_hf_name_to_mlx(w->class->family, name, path);
    if (!row) return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s': mlx-lm's %s has no such tensor", shown.text, w->class->model_type);
    kq_dtype dtype = KQ_DTYPE_U8;
    bool packed = info->block_weights > 1, norm = row->how == KQ_HOW_NORM;
    size_t size = strlen(path);
    if (packed && (n_dims < 2 || !info->decodes || size < 7 || strcmp(path + size - 7, ".weight") != 0)) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s' is %s: only matrices may be quantised in a checkpoint", shown.text, info->name);
    }
    if (codec == KQ_TQ1_0 || codec == KQ_TQ2_0 || codec == KQ_Q1_0) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s' is %s, which checkpoints of mlx-kquant do not have: only a GGUF can hold it",
                       shown.text, info->name);
    }
    if (!packed && !dtype_of(codec, &dtype)) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s' is %s, must be f32, f16, bf16 or quantised", shown.text, info->name);
    }
    if (strcmp(name, "token_embd.weight") == 0) w->n_vocab = dims[1];
    uint64_t shape[3], rows = n_dims > 1 ? t.dims[1] * t.dims[2] : t.dims[0];
    out_tensor *o = kq_arena_alloc(&w->arena, 1, sizeof *o);
    const char *copy = kq_arena_string(&w->arena, name, strlen(name));
    if (!o || !copy) return kq_fail_memory(err, sizeof *o, "a tensor");
    *o = (out_tensor){.w = w, .data = data, .produce = make, .ctx = ctx, .bytes = t.bytes, .unit = t.bytes / rows, .name = copy};
    bool llama = (w->class->family & (KQ_HF_LLAMA | KQ_HF_MIXTRAL)) != 0;
    if (llama && (row->how == KQ_HOW_PAIRS_Q || row->how == KQ_HOW_PAIRS_K)) o->head = w->head;
    o->minus_one = norm && w->class->family == KQ_HF_GEMMA3;
    if ((o->head && rows % o->head) || (o->minus_one && codec != KQ_F32)) {
        return kq_fail(err, KQ_E_UNSUPPORTED, "tensor '%s': %llu rows are no whole heads, or a norm is no f32", shown.text, (unsigned long long)rows);
    }
    for (uint32_t d = 0; d < n_dims; d++) shape[d] = dims[n_dims - 1 - d];
    if (packed) shape[n_dims - 1] = o->unit;
    bool made = o->head || o->minus_one || make;
    KQ_TRY(kq_safetensors_writer_tensor(w->files, path, dtype, n_dims, shape, made ? NULL : data, made ? produce : NULL, made ? o : NULL, err));
    return packed ? put_scales(w, path, info, err) : KQ_OK;
}

/* ---- the other files ------------------------------------------------------------------------------------------------ */

static kq_status copy_file(kq_checkpoint_writer *w, const char *name, kq_error *err) {
    const char *from = join(w, kq_gguf_path(w->source), name), *to = join(w, w->folder.part, name);
    kq_map map;
    if (!from || !to) return kq_fail_memory(err, strlen(name), "a path");
    if (access(from, F_OK)) return KQ_OK;
    KQ_TRY(kq_map_open(&map, from, err));
    kq_text text = {.allocator = &w->allocator};
    kq_text_add(&text, map.data, (size_t)map.size);
    kq_status status = kq_text_write(&text, to, err);
    kq_free(&w->allocator, text.data);
    kq_map_close(&map);
    return status;
}

/* What generation_config.json of a GGUF would say. */
static kq_status write_generation(kq_checkpoint_writer *w, kq_error *err) {
    static const char *const keys[][2] = {
        {"tokenizer.ggml.bos_token_id", "bos_token_id"}, {"tokenizer.ggml.eos_token_id", "eos_token_id"}, {"general.sampling.top_k", "top_k"},
        {"general.sampling.top_p", "top_p"}, {"general.sampling.min_p", "min_p"}, {"general.sampling.temp", "temperature"},
        {"general.sampling.penalty_repeat", "repetition_penalty"}};
    json_t *config = json_object();
    bool fine = config != NULL;
    for (size_t i = 0; fine && i < KQ_COUNT(keys); i++) {
        const kq_gguf_value *v = kq_gguf_find(w->source, keys[i][0]);
        int64_t n;
        double x;
        if (kq_gguf_element_i64(v, 0, &n)) fine = json_object_set_new(config, keys[i][1], json_integer(n)) == 0;
        else if (kq_gguf_element_f64(v, 0, &x)) fine = json_object_set_new(config, keys[i][1], json_real(x)) == 0;
    }
    const char *path = join(w, w->folder.part, "generation_config.json");
    kq_text text = {.allocator = &w->allocator};
    if (fine) kq_text_value(&text, config);
    kq_status status = fine && path ? kq_text_write(&text, path, err) : kq_fail_memory(err, 256, "a configuration");
    kq_free(&w->allocator, text.data);
    json_decref(config);
    return status;
}

static kq_status write_config(kq_checkpoint_writer *w, kq_error *err) {
    const char *path = join(w, w->folder.part, "config.json");
    (void)json_object_del(w->config, "quantization");
    (void)json_object_del(w->config, "quantization_config");
    bool fine = path != NULL;
    if (json_object_size(w->per_tensor)) {
        json_t *q = json_pack("{s:s, s:O}", "mode", "kquant", "per_tensor", w->per_tensor);
        fine = fine && q && json_object_set(w->config, "quantization", q) == 0 && json_object_set(w->config, "quantization_config", q) == 0;
        json_decref(q);
    }
    if (w->n_vocab) fine = fine && json_object_set_new(w->config, "vocab_size", json_integer((json_int_t)w->n_vocab)) == 0;
    kq_text text = {.allocator = &w->allocator};
    if (fine) kq_text_value(&text, w->config);
    kq_text_put(&text, "\n");
    kq_status status = fine ? kq_text_write(&text, path, err) : kq_fail_memory(err, 256, "a configuration");
    kq_free(&w->allocator, text.data);
    return status;
}

kq_status kq_checkpoint_writer_finish(kq_checkpoint_writer *w, kq_error *err) {
    static const char *const copied[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
                                         "merges.txt", "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json"};
    if (w->done) return kq_fail(err, KQ_E_ARGUMENT, "kq_checkpoint_writer_finish: the checkpoint is finished");
    w->done = true;
    KQ_TRY(write_config(w, err));
    for (size_t i = 0; w->copies && i < KQ_COUNT(copied); i++) KQ_TRY(copy_file(w, copied[i], err));
    if (!w->copies) {
        KQ_TRY(kq_vocabulary_write(w->source, w->folder.part, &w->allocator, err));
        KQ_TRY(write_generation(w, err));
    }
    KQ_TRY(kq_safetensors_writer_finish(w->files, err));
    kq_safetensors_writer_close(w->files);
    w->files = NULL;
    return kq_output_folder_publish(&w->folder, err);
}
