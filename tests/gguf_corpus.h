/* SPDX-License-Identifier: MIT */
/* Every malformed GGUF that has hurt somebody, and their relatives: made here, never by hand. Source of the list: public
 * reports against readers of GGUF (counts and lengths whose size wraps, CVE-2024-23605, -21802, -23496, -21836, -21825;
 * sums of sizes, CVE-2025-53630, CVE-2026-27940; one tensor's size, CVE-2026-33298; zero dims, n_dims, alignment, names, element
 * kinds, extents, CVE-2026-7482; blocks, types; shards). The tests and the fuzzer's seeds come from this one place. */
#ifndef KQ_TESTS_GGUF_CORPUS_H
#define KQ_TESTS_GGUF_CORPUS_H

#include "gguf_build.h"

#include <kquant/core.h>

enum { CASE_SAYS = 4 };

typedef struct gguf_case {
    char name[72];             /* what is wrong, fit for a file's name */
    kq_status status;          /* KQ_OK: a valid control */
    char says[CASE_SAYS][72];  /* what the error's text must contain; "" is nothing */
    const uint8_t *data;
    size_t size;
} gguf_case;

typedef void gguf_visit(void *ctx, const gguf_case *c);
/* Single files, about 700 of them, most below 400 bytes. */
void gguf_corpus(gguf_visit *visit, void *ctx);
/* The two that need tens of megabytes. */
void gguf_corpus_big(gguf_visit *visit, void *ctx);

typedef struct gguf_split_case {
    char name[72];
    kq_status status;
    char says[CASE_SAYS][72];
    char blames[72]; /* the end of the file name in the error */
    char path[512];  /* what to open */
} gguf_split_case;
/* Writes sets of parts into `directory` (which exists) and visits each. 0, or -1 when a file cannot be written. */
int gguf_split_corpus(const char *directory, void (*visit)(void *ctx, const gguf_split_case *c), void *ctx);

#endif
