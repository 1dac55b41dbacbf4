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

/* ---- vocabulary (vocabulary.c) ------------------------------------------------------------------------------------- */

/* Adds tokenizer.ggml.* and tokenizer.chat_template, from tokenizer.json and its companions. */
kq_status kq_vocabulary_read(kq_metadata *out, kq_hf_config *c, kq_error *err);
/* vocabulary_write.c: writes tokenizer.json, tokenizer_config.json, chat_template.jinja and, where scores rule, tokenizer.model into a folder;
 * nothing when g has no vocabulary. KQ_E_UNSUPPORTED: one that those files cannot express. */
kq_status kq_vocabulary_write(const kq_gguf *g, const char *folder, const kq_allocator *a, kq_error *err);

#endif
