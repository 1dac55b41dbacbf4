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

/* ---- writing a checkpoint -------------------------------------------------------------------------------------------- */

typedef struct kq_checkpoint_options {
    size_t struct_size;
    const kq_allocator *allocator;
    uint64_t max_shard_bytes; /* 0: 5 GiB */
} kq_checkpoint_options;

/* Collects the tensors of a model under their GGUF names, then writes them as a checkpoint of mlx-kquant: a folder with config.json (with
 * quantization.mode = kquant where a tensor is quantised), model.safetensors or its shards and index, and the files of the tokenizer. Names,
 * order of rows and norms are mlx-lm's; blocks keep their bytes. `source` says what the tensors do not: a folder's configuration and files are
 * copied, a GGUF's are made of its metadata. Tensor data is borrowed until finish, or produced piece by piece, rows in GGUF's order.
 * Everything is written to a folder beside, synced, then renamed. An existing folder must be empty, or an older checkpoint of this kind with nothing
 * else in it.
 * One thread at a time. */
typedef struct kq_checkpoint_writer kq_checkpoint_writer;
/* source is borrowed until close. KQ_E_ARGUMENT: the folder is the source's. KQ_E_IO: something else lies there. KQ_E_UNSUPPORTED: a
 * family, key or vocabulary that the form cannot express. KQ_E_MEMORY. */
KQ_API KQ_MUST_CHECK kq_status kq_checkpoint_writer_open(kq_checkpoint_writer **out, const char *folder, const kq_gguf *source,
                                                         const kq_checkpoint_options *options, kq_error *err);
/* Drops an unfinished folder. */
KQ_API void kq_checkpoint_writer_close(kq_checkpoint_writer *w);
/* As kq_gguf_writer_tensor. KQ_E_UNSUPPORTED: the family has no such tensor, or what it is cannot be quantised (a norm, a bias). */
KQ_API KQ_MUST_CHECK kq_status kq_checkpoint_writer_tensor(kq_checkpoint_writer *w, const char *name, kq_codec codec, uint32_t n_dims,
                                                           const uint64_t *dims, const void *data, kq_produce produce, void *ctx,
                                                           kq_error *err);
/* Writes everything and gives the folder its name. Once only; then close. */
KQ_API KQ_MUST_CHECK kq_status kq_checkpoint_writer_finish(kq_checkpoint_writer *w, kq_error *err);

#ifdef __cplusplus
}
#endif
#endif
