/* SPDX-License-Identifier: MIT */
/* kquant decode: a codec's blocks into an array of floats. */
#include "cli/cli.h"

typedef struct values {
    cli_values common;
    const char *codec, *output;
    int64_t cols;
} values;

static const cli_option options[] = {
    {.names = "--codec", CLI_IS_TEXT(codec, "NAME"), .help = "q4_k, iq4_xs, mxfp4, f16, ..."},
    {.names = "--cols", CLI_IS_WHOLE(cols, "N", 1, 1 << 24), .help = "weights in a row; a multiple of the codec's block"},
    {.names = "-o --output", CLI_IS_FILE(output), .help = "where to write; - is standard output"},
};

typedef struct decoder {
    uint32_t codec;
    size_t cols, row_bytes;
} decoder;

static kq_status decode_rows(void *ctx, const void *in, size_t rows, void *out, kq_error *err) {
    const decoder *d = ctx;
    return kq_dequantize(d->codec, in, rows * d->row_bytes, rows * d->cols, out, rows * d->cols, err);
}

static int run(const void *given) {
    const values *v = given;
    const kq_codec_info *codec;
    size_t row_bytes;
    int code = cli_rows_codec(&cli_decode_rows, v->codec, v->cols, &codec, &row_bytes);
    if (!code) code = cli_rows_paths(&cli_decode_rows, &v->common, v->output);
    if (code) return code;
    decoder d = {codec->codec, (size_t)v->cols, row_bytes};
    cli_rows rows = {"decode", row_bytes, d.cols * sizeof(float), decode_rows, &d};
    return cli_rows_convert(&rows, v->common.args[0], v->output);
}

const cli_command cli_decode_rows = {
    .name = "decode",
    .usage = "--codec NAME --cols N IN -o OUT",
    .summary = "Decode blocks into an array of floats",
    .description = "Reads rows of a codec's blocks, one after another, and writes them as little-endian float32, bit for bit as the format defines "
                   "them. IN may be -, standard input. OUT appears only when it is complete; standard output gets rows as they "
                   "are made, so where it fails (exit 3: the input ends within a row) the rows before are there.",
    .examples = "kquant decode --codec q4_k --cols 768 x.q4_k -o x.f32",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 1,
    .needs_arguments = true,
    .run = run,
};
