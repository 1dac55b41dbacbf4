/* SPDX-License-Identifier: MIT */
/* The small models of tests/golden/models, made from their specifications: metadata, tensor names and shapes, and weights that any
 * language can make again (make_model.c has the rule). Files come out as bytes in memory, with changes where a test wants them. */
#ifndef KQ_TESTS_MAKE_MODEL_H
#define KQ_TESTS_MAKE_MODEL_H

#include "gguf_build.h"

#include <stdbool.h>

typedef struct spec spec;
/* Of tests/golden/models/NAME.json; a failure ends the test program. */
spec *spec_open(const char *name);
/* The same model with every width, and the vocabulary, divided by 8 or 32: quick to make, for tests that need many. Heads, experts and
 * layers stay. */
spec *spec_open_shrunk(const char *name, uint64_t shrink);
void spec_close(spec *s);

/* What to change: all are optional. */
typedef struct spec_change {
    const char *key;      /* this key gets ... */
    uint32_t kind;        /* ... this kind and these bytes; it is added when the specification lacks it */
    const void *value;
    size_t value_size;
    bool drop_key;        /* ... or is left out */
    const char *tensor;   /* this tensor gets ... */
    bool drop_tensor;     /* ... left out, */
    uint32_t n_dims;      /* or (when not 0) these dims, innermost first, and `type`, with zeros for data */
    uint64_t dims[4];
    uint32_t type;
    size_t n_bytes;
    bool no_vocabulary;   /* leaves out tokenizer.* */
} spec_change;
/* The GGUF file; bytes_free it. change may be NULL. */
bytes spec_file(const spec *s, const spec_change *change);

size_t spec_n_keys(const spec *s);
const char *spec_key(const spec *s, size_t i);
size_t spec_n_tensors(const spec *s);
const char *spec_tensor(const spec *s, size_t i);

/* NAME.bin: what the reference engine answered. */
typedef struct golden_logits {
    int32_t n, n_vocab;
    int32_t *tokens; /* [n] */
    float *logits;   /* [n][n_vocab] */
    bytes file;
} golden_logits;
golden_logits golden_logits_read(const char *name);
/* sum (a - b)^2 / sum b^2 */
double nmse(const float *a, const float *b, size_t n);

#endif
