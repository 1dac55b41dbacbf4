/* SPDX-License-Identifier: MIT */
/* Sources of models, whatever their form: everything that reads a model opens it here. */
#ifndef KQUANT_CONVERT_H
#define KQUANT_CONVERT_H

#include <kquant/file.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kq_source_options {
    size_t struct_size;
    const kq_allocator *allocator;
    bool lazy; /* leave tensors that must be made without data (kq_gguf_tensor_read makes them, piece by piece); else they are made at once */
    bool no_vocabulary; /* do not read a folder's tokenizer: the result has no tokenizer.* keys, and one that this version cannot read is no error */
} kq_source_options;

/* Opens a GGUF (a file; any part of a split one), which is kq_gguf_open, or a folder, which is given as the GGUF that it would become:
 *   - Hugging Face float weights: config.json with model.safetensors or its shards;
 *   - a checkpoint of mlx-kquant: the same with quantization.mode = kquant, its weights packed blocks.
 * Keys, names, shapes and values are those of llama.cpp's converter. Tensors that lie in the files as they are needed point into the mapping;
 * the others are permuted, widened or stacked. options may be NULL.
 * KQ_E_IO, KQ_E_FORMAT, KQ_E_LIMIT, KQ_E_MODEL (a key or tensor missing or contradicting the others), KQ_E_UNSUPPORTED (architecture,
 * quantisation, a tensor that no rule knows), KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_source_open(kq_gguf **out, const char *path, const kq_source_options *options, kq_error *err);
/* What it was opened from: "gguf", "huggingface" or "mlx-kquant". */
KQ_API const char *kq_source_form(const kq_gguf *g);

#ifdef __cplusplus
}
#endif
#endif
