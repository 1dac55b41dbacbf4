/* SPDX-License-Identifier: MIT */
/* What the command quantize and its tables share. */
#ifndef KQ_CLI_QUANTIZE_H
#define KQ_CLI_QUANTIZE_H

#include "cli/cli.h"

/* What became of a tensor. */
typedef struct cli_made {
    bool done, kept;
    double error, seconds; /* squared error over squared weights, negative when not measured */
} cli_made;

typedef struct cli_quantized {
    const char *input, *output; /* output may be NULL in a dry run */
    const char *what;           /* "Q4_K_M", or the name of a preset or recipe */
    const kq_quant_plan *plan;
    const kq_imatrix *imatrix;  /* or NULL */
    const char *imatrix_path;
    const cli_made *made;       /* NULL in a dry run */
    bool checkpoint;
    int threads;
    double seconds;             /* what it took, or in a dry run would take; negative when that is not known */
} cli_quantized;

void cli_quantized_table(const cli_quantized *q);
void cli_quantized_json(const cli_quantized *q);
/* Notes on an importance matrix that does not fit the model: entries that name no tensor, tensors without an entry, groups of no use. */
void cli_quantized_coverage(const cli_quantized *q);
/* Seconds that making the plan's model takes, from encoding some rows for each codec; negative after an error, which is printed. */
double cli_quantized_estimate(const kq_quant_plan *plan, kq_pool *pool, bool measure);

#endif
