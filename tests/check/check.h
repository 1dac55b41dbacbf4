/* SPDX-License-Identifier: MIT */
/* check: the test and bench program of the kernels (kernels.def). main.c runs the rows and reports, data.c makes buffers and
 * data, cases.c, attention.c and tiles.c hold the checks of each operation, bench.c the timing. */
#ifndef KQ_TESTS_CHECK_H
#define KQ_TESTS_CHECK_H

#include "cpu/kernels.h"

#include <kquant/measure.h>

#include <stdio.h>

/* ---- random numbers: one stream a kernel, from the seed and the kernel's name, so that a kernel alone sees the same data */
void random_start(uint64_t seed, const char *name);
uint32_t random_u32(void);
uint32_t random_below(uint32_t n);
float random_uniform(void);  /* in (-1, 1) */
float random_gaussian(void);

/* ---- buffers between guard pages ------------------------------------------------------------------------------------ */

/* Pages that may be touched, with one that may not on either side. */
typedef struct buffer {
    uint8_t *base;
    size_t size;          /* of what may be touched */
    uint8_t *data;        /* the bytes of this case, canaries around them */
    size_t bytes;
} buffer;
typedef enum place { AT_START, AT_END, ODD, N_PLACES } place;
extern const char *const place_names[N_PLACES];

void buffer_open(buffer *b, size_t size);
/* Room for `bytes` bytes right behind the first guard page, right before the last, or in between at a multiple of `align` that is
 * a multiple of nothing larger. Everything round it is filled with canaries, and the buffer may be written. */
void *buffer_place(buffer *b, size_t bytes, place where, size_t align);
void buffer_protect(buffer *b);          /* against writing, until the next buffer_place */
bool buffer_whole(const buffer *b);      /* are the canaries? */

/* ---- data ------------------------------------------------------------------------------------------------------------ */

typedef enum weights_kind { WEIGHTS_RANDOM, WEIGHTS_EXTREME, WEIGHTS_EVEN, N_WEIGHTS } weights_kind;
extern const char *const weights_names[N_WEIGHTS];
/* n_blocks blocks that decode to finite numbers: random bytes; runs of extreme bytes with scales that are zero, subnormal, huge;
 * random bytes whose largest weight is of the same order everywhere. */
void make_weights(const kq_codec_info *c, weights_kind kind, uint8_t *out, size_t n_blocks);

typedef enum floats_kind { FLOATS_GAUSSIAN, FLOATS_OUTLIERS, FLOATS_LEVEL, FLOATS_SPARSE, FLOATS_WIDE, FLOATS_SPECIAL, N_FLOATS } floats_kind;
extern const char *const floats_names[N_FLOATS];
/* n activations: normal; normal with one channel in 128 thirty times larger; all of the same magnitude (int8 at its ends); mostly zero;
 * magnitudes from 1e-18 to 1e18; and, for exact kernels only, any bits at all: NaN, infinities, subnormals. */
void make_floats(floats_kind kind, float *out, size_t n);

/* ---- checks ---------------------------------------------------------------------------------------------------------- */

/* What is being run, for messages and for the signal handler. */
void case_name(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A failure of the current case. */
void case_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The worst error so far as a share of its bound, for the report. */
void case_error(double share);
/* The error of the fast mode's activations in per cent, for the report. */
void case_accuracy(double per_cent);
extern size_t n_cases;

void check_kernel(const kq_kernel *k);
void check_attention(const kq_kernel *k); /* score, soften, blend */
void check_pointwise(const kq_kernel *k); /* silu, gelu */
void check_tiles(const kq_kernel *k);     /* pack, narrow, panel, tile, unpack */

/* Prints the error of the fast mode's products with these features, per codec and regime; false where one is more than promised. */
bool print_errors(uint32_t features);

/* ---- bench ----------------------------------------------------------------------------------------------------------- */

void bench_start(size_t megabytes, uint32_t features); /* features: of the reading roof */
void bench_kernel(const kq_kernel *k);
void bench_tile(const kq_kernel *k);
double median(double *values, size_t n); /* sorts them */
/* Of one thread with these features alone, in GB or billions of operations a second; p and n for reading. */
double roof(kq_roof kind, uint32_t features, void *p, size_t n);

#endif
