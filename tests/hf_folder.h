/* SPDX-License-Identifier: MIT */
/* Writes folders as Hugging Face and mlx-lm have them, from a GGUF: names are spelled and rows are moved here by rules of their own, which
 * share nothing with the library's tables. */
#ifndef KQ_TESTS_HF_FOLDER_H
#define KQ_TESTS_HF_FOLDER_H

#include <kquant/file.h>

typedef enum hf_experts { HF_EACH, HF_SWITCH, HF_FUSED } hf_experts; /* one tensor an expert; mlx-lm's stacks; gate and up in one */

typedef struct hf_options {
    kq_dtype dtype;        /* of what is float: F32, F16 or BF16 (the GGUF's values must survive it) */
    hf_experts experts;
    bool moe_in_mlp;       /* "mlp.experts", as Qwen has it, not "block_sparse_moe" */
    bool halves;           /* llama: pairs become halves */
    bool gemma;            /* Gemma's names, and norms less 1 */
    bool language_model;   /* with that prefix, and a vision tower's tensor that nobody wants */
    uint64_t max_shard_bytes;
    const char *drop;      /* leaves out this tensor (the name in the folder) */
    const char *extra;     /* adds one of this name, 1 x 1 */
    const char *reshape;   /* gives this tensor a row less */
} hf_options;

/* Writes config.json (the text, with the quantization map of a packed GGUF put in where it has %s) and the tensors. Ends the test program when
 * that fails. */
void hf_folder_write(const char *folder, const kq_gguf *g, const char *config, const hf_options *o);
/* Removes a folder of files. */
void hf_folder_remove(const char *folder);

#endif
