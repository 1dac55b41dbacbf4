/* SPDX-License-Identifier: MIT */
/* Rows of one size in, rows of another out: what encode and decode share. Memory is a few MiB, whatever the file's size. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

enum { PIECE = 4 << 20 };

typedef struct input {
    int fd;
    const char *name;
    uint64_t size; /* of a regular file; else 0 */
} input;

static int input_open(input *in, const char *path, size_t row) {
    bool is_stdin = !strcmp(path, "-");
    in->name = is_stdin ? "standard input" : path;
    in->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0) return cli_fail(CLI_FAILED, "%s: cannot open: %s", in->name, strerror(errno));
    struct stat st;
    in->size = fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (in->size % row == 0) return CLI_FINE;
    if (!is_stdin) close(in->fd);
    return cli_fail(CLI_BAD_FILE, "%s: %llu bytes are no whole rows of %zu", in->name, (ull)in->size, row);
}

/* Fills `piece` as far as the input goes; false after an error message. */
static bool input_read(const input *in, char *piece, size_t size, size_t *n) {
    ssize_t got = 1;
    for (*n = 0; *n < size && got > 0; *n += got > 0 ? (size_t)got : 0) got = read(in->fd, piece + *n, size - *n);
    if (got < 0 && !cli_stopped()) cli_fail(CLI_FAILED, "%s: cannot read: %s", in->name, strerror(errno));
    return got >= 0;
}

/* A file under construction is dropped; what goes to a pipe cannot be taken back, so a failure says how much of it there is. */
typedef struct note { char text[64]; } note;
static note written(const cli_output *o, uint64_t rows) {
    note n = {""};
    if (!o->temporary && rows) snprintf(n.text, sizeof n.text, ", and its first %llu rows are written already", (ull)rows);
    return n;
}

static int convert_all(const cli_rows *r, const input *in, cli_output *o, char *from, char *to, size_t at_once) {
    uint64_t done = 0;
    for (;;) {
        size_t n;
        if (!input_read(in, from, at_once * r->in_row, &n)) return cli_stopped() ? cli_stopped_code() : CLI_FAILED;
        size_t rows = n / r->in_row;
        if (n % r->in_row) {
            return cli_fail(CLI_BAD_FILE, "%s: %llu bytes are no whole rows of %zu%s", in->name, (ull)done * r->in_row + n, r->in_row,
                            written(o, done).text);
        }
        if (rows == 0) break;
        kq_error e;
        if (r->convert(r->ctx, from, rows, to, &e)) {
            return cli_fail(e.status == KQ_E_ARGUMENT ? CLI_BAD_FILE : CLI_FAILED, "%s: counted from row %llu on: %s%s", in->name, (ull)done, e.text,
                            written(o, done).text);
        }
        if (cli_stopped()) return cli_stopped_code();
        if (!cli_output_write(o, to, rows * r->out_row)) return CLI_FAILED;
        done += rows;
        if (in->size) cli_bar(r->label, (double)(done * r->in_row) / (double)in->size);
    }
    if (done == 0) return cli_fail(CLI_BAD_FILE, "%s: is empty", in->name);
    return cli_output_commit(o) ? CLI_FINE : CLI_FAILED;
}

int cli_rows_convert(const cli_rows *r, const char *from_path, const char *to_path) {
    input in = {0};
    cli_output o;
    int code = input_open(&in, from_path, r->in_row);
    if (code) return code;
    size_t at_once = CLI_MAX((size_t)PIECE / CLI_MAX(r->in_row, r->out_row), (size_t)1);
    char *from = cli_alloc(at_once, r->in_row), *to = cli_alloc(at_once, r->out_row);
    cli_signals_catch_stop();
    code = CLI_FAILED;
    if (cli_output_open(&o, to_path, in.fd == STDIN_FILENO ? NULL : from_path)) code = convert_all(r, &in, &o, from, to, at_once);
    cli_bar_clear();
    cli_output_drop(&o);
    if (in.fd != STDIN_FILENO) close(in.fd);
    free(from);
    free(to);
    return code;
}

int cli_rows_codec(const cli_command *c, const char *name, int64_t cols, const kq_codec_info **codec, size_t *bytes) {
    uint64_t row;
    kq_error e;
    if (!name) return cli_fail_usage(c, "which codec? (--codec q4_k)");
    if (cols == 0) return cli_fail_usage(c, "how many weights has a row? (--cols 768)");
    *codec = kq_codec_find(name);
    if (!*codec || !(*codec)->decodes) return cli_fail_usage(c, "--codec: no codec is named '%s'", name);
    if (kq_row_bytes((*codec)->codec, (uint64_t)cols, &row, &e)) return cli_fail_usage(c, "--cols: %s", e.text);
    *bytes = (size_t)row;
    return CLI_FINE;
}

int cli_rows_paths(const cli_command *c, const cli_values *v, const char *output) {
    if (v->n_args == 0) return cli_fail_usage(c, "which file? (- is standard input)");
    if (!output) return cli_fail_usage(c, "where to? (-o FILE, or -o - for standard output)");
    if (!strcmp(output, "-") && isatty(STDOUT_FILENO)) return cli_fail_usage(c, "-o -: standard output is a terminal, and the result is binary");
    return CLI_FINE;
}
