/* SPDX-License-Identifier: MIT */
/* convert owns: folders of Hugging Face and of mlx-kquant, read as a kq_gguf and written from one; the names, keys and transformations between
 * the two worlds.
 * It may include: base codec file text. */
#ifndef KQ_CONVERT_H
#define KQ_CONVERT_H

#include "file/file.h"
#include "file/json.h"

#include <kquant/convert.h>

/* ---- configuration ------------------------------------------------------------------------------------------------- */

/* The JSON files that describe a model, parsed. */
typedef struct kq_hf_config {
    kq_allocator allocator;
    kq_arena arena;
    const char *folder;
    json_t *root;       /* config.json, an object */
    json_t *text;       /* the text model's part: text_config (or one of its other names) laid over root; root itself when there is none */
    json_t *tokenizer;  /* tokenizer_config.json, an object; NULL when there is none */
    json_t *generation; /* generation_config.json, an object; NULL when there is none */
} kq_hf_config;

/* A failed open needs no close. KQ_E_IO (no config.json), KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_MEMORY. */
kq_status kq_hf_config_open(kq_hf_config *c, const char *folder, const kq_allocator *a, kq_error *err);
void kq_hf_config_close(kq_hf_config *c); /* a zeroed one is fine */

/* FOLDER/NAME, in the arena; NULL when memory fails. */
const char *kq_hf_path(kq_hf_config *c, const char *name);
/* Reads an object from FOLDER/NAME, within the limits of configuration files; *out is NULL when there is no such file. */
kq_status kq_hf_json(json_t **out, kq_hf_config *c, const char *name, kq_error *err);

/* Integers and numbers of a configuration object. A field that is missing or null leaves *out alone and sets *found (may be NULL) to false;
 * one of another type or out of range is KQ_E_MODEL, with its name, value and limits. */
kq_status kq_hf_u64(kq_hf_config *c, const json_t *object, const char *field, uint64_t min, uint64_t max, uint64_t *out, bool *found,
                    kq_error *err);
kq_status kq_hf_f64(kq_hf_config *c, const json_t *object, const char *field, double min, double max, double *out, bool *found,
                    kq_error *err);
/* Fails about config.json. */
kq_status kq_hf_fail(kq_hf_config *c, kq_status status, kq_error *err, const char *format, ...) __attribute__((format(printf, 4, 5), cold));

/* ---- families (families.def) --------------------------------------------------------------------------------------- */

/* Bits, so that a name can belong to several. */
enum {
    KQ_HF_LLAMA = 1, KQ_HF_MIXTRAL = 2, KQ_HF_QWEN2 = 4, KQ_HF_QWEN3 = 8, KQ_HF_QWEN3MOE = 16, KQ_HF_GEMMA3 = 32,
    KQ_HF_ALL = 63, KQ_HF_DENSE = KQ_HF_ALL & ~(KQ_HF_MIXTRAL | KQ_HF_QWEN3MOE)
};

typedef struct kq_hf_class {
    const char *name, *model_type;
    uint32_t family;
    const char *architecture;  /* general.architecture */
    /* what the class takes where config.json is silent */
    uint64_t n_embd, n_ff, n_layer, n_head, n_kv;
    int head;                  /* or KQ_HEAD_... */
    uint64_t n_ctx;
    double eps, theta;
    uint64_t n_vocab;
    bool tied;
    uint64_t n_expert, n_used, n_ff_expert;
} kq_hf_class;
enum { KQ_HEAD_NONE = 0, KQ_HEAD_SPLIT = -1 };

/* The class of a configuration, by its `architectures`, or else its model_type. KQ_E_UNSUPPORTED: none of ours; KQ_E_MODEL: it has neither. */
kq_status kq_hf_class_of(const kq_hf_class **out, kq_hf_config *c, kq_error *err);
/* The class that a GGUF becomes, by general.architecture and experts; NULL when the family is none of ours. */
const kq_hf_class *kq_hf_class_of_gguf(const kq_gguf *g);

/* The numbers that shapes follow from. */
typedef struct kq_hf_shape {
    const kq_hf_class *class;
    uint64_t n_vocab, n_embd, n_ff, n_layer, n_head, n_kv, head, n_expert, n_used, n_ff_expert;
    bool tied;          /* the output matrix is the embeddings */
    bool head_is_field; /* the class has head_dim, or the configuration gives it */
} kq_hf_shape;
/* Reads and checks them. */
kq_status kq_hf_shape_read(kq_hf_shape *s, kq_hf_config *c, kq_error *err);

/* Adds general.* and <architecture>.*, as llama.cpp's converter does; general.size_label and general.file_type are for the caller to fill in. */
kq_status kq_hf_keys(kq_metadata *out, const kq_hf_shape *s, kq_hf_config *c, kq_error *err);
/* rope_freqs.weight of a llama3 scaling, [head / 2], in the arena; *out is NULL when the model has none. */
kq_status kq_hf_rope_factors(float **out, const kq_hf_shape *s, kq_hf_config *c, kq_error *err);

/* The way back: the config.json (without quantization) of a model that is given as a GGUF: the fields that transformers and mlx-lm read.
 * The result is released with json_decref. KQ_E_UNSUPPORTED: a family, or a key that no field expresses. */
kq_status kq_hf_config_make(json_t **out, const kq_gguf *g, kq_error *err);

/* ---- names of tensors (names.def) ---------------------------------------------------------------------------------- */

typedef enum kq_hf_how {
    KQ_HOW_AS_IS, KQ_HOW_WHOLE, KQ_HOW_NORM, KQ_HOW_PAIRS_Q, KQ_HOW_PAIRS_K, KQ_HOW_STACK, KQ_HOW_GATE, KQ_HOW_UP, KQ_HOW_CUT
} kq_hf_how;
typedef enum kq_hf_need { KQ_NEED_MAY, KQ_NEED_MUST, KQ_NEED_HEAD } kq_hf_need;

typedef struct kq_hf_name {
    uint32_t families;
    kq_hf_need need;
    const char *hf, *gguf, *shape; /* names.def says how to read them */
    kq_hf_how how;
} kq_hf_name;
/* Row i of the table; NULL beyond the end. */
const kq_hf_name *kq_hf_name_at(size_t i);
/* The next row at or behind *at that a Hugging Face or mlx-lm name of this family means (GATE and UP share one), with the numbers in its
 * place; NULL when there is none. *at moves behind it. */
const kq_hf_name *kq_hf_name_find(uint32_t family, const char *name, size_t *at, uint32_t *layer, uint32_t *expert);
/* mlx-lm's name of a GGUF tensor, zero-terminated, into out, and the row that says how it is made, which is to be undone. NULL when the family has
 * no such tensor. Of Gemma 3 it is the text model's own, without `language_model.`. */
const kq_hf_name *kq_hf_name_to_mlx(uint32_t family, const char *gguf, char out[KQ_SAFETENSORS_MAX_NAME + 1]);
/* The pattern with its numbers. False when it does not fit. */
bool kq_hf_name_format(const char *pattern, uint32_t layer, uint32_t expert, char *out, size_t size);

/* The rows of a rotary matrix, heads of `head` rows each: llama's GGUF has adjacent pairs where Hugging Face has halves. The row of Hugging Face
 * that row i of the GGUF is, and the other way round. */
static inline uint64_t kq_hf_pairs_to_halves(uint64_t i, uint64_t head) {
    uint64_t at = i % head;
    return i - at + at % 2 * (head / 2) + at / 2;
}
static inline uint64_t kq_hf_halves_to_pairs(uint64_t i, uint64_t head) {
    uint64_t at = i % head;
    return i - at + at % (head / 2) * 2 + at / (head / 2);
}

/* ---- folders (folder.c) -------------------------------------------------------------------------------------------- */

/* Opens a folder as kq_source_open does. */
kq_status kq_folder_open(kq_gguf **out, const char *path, const kq_source_options *o, kq_error *err);

/* ---- vocabulary (vocabulary.c) ------------------------------------------------------------------------------------- */

/* Adds tokenizer.ggml.* and tokenizer.chat_template, from tokenizer.json and its companions. */
kq_status kq_vocabulary_read(kq_metadata *out, kq_hf_config *c, kq_error *err);
/* vocabulary_write.c: writes tokenizer.json, tokenizer_config.json, chat_template.jinja and, where scores rule, tokenizer.model into a folder;
 * nothing when g has no vocabulary. KQ_E_UNSUPPORTED: one that those files cannot express. */
kq_status kq_vocabulary_write(const kq_gguf *g, const char *folder, const kq_allocator *a, kq_error *err);

/* ---- checkpoints (checkpoint.c) ------------------------------------------------------------------------------------ */

struct kq_resume; /* file/output.h */
/* kq_checkpoint_writer_open for a run that can be taken up again: the folder beside is NAME.kq-part. Lent until close; its items are the ctx of the
 * tensors, all of which are produced. */
kq_status kq_checkpoint_writer_open_resumable(kq_checkpoint_writer **out, const char *folder, const kq_gguf *source,
                                              const kq_checkpoint_options *options, const struct kq_resume *resume, kq_error *err);

#endif
