/* SPDX-License-Identifier: MIT */
/* Errors and notes on stderr, results on stdout, and memory. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool cli_quiet;
static int stdout_error; /* errno of the first failed write */

static void say(const char *before, const char *format, va_list args) {
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    char *shown = cli_show(text, strlen(text), 0, false);
    cli_bar_clear();
    fprintf(stderr, "kquant%s: %s\n", before, shown);
    free(shown);
}

int cli_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
    return code;
}

void cli_note(const char *format, ...) {
    if (cli_quiet) return;
    va_list args;
    va_start(args, format);
    say(": note", format, args);
    va_end(args);
}

int cli_fail_usage(const cli_command *c, const char *format, ...) {
    char before[64];
    snprintf(before, sizeof before, " %s", c->name);
    va_list args;
    va_start(args, format);
    say(before, format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_fail_kq(const char *path, const kq_error *e) {
    if (e->status == KQ_E_CANCELLED && cli_stopped()) return cli_stopped_code();
    int code = e->status >= 40 && e->status <= 49 ? CLI_BAD_FILE : CLI_FAILED;
    char at[48] = "";
    if (e->offset != KQ_NO_OFFSET) snprintf(at, sizeof at, " (at byte %llu)", (unsigned long long)e->offset);
    const char *file = e->file[0] ? e->file : path ? path : "";
    return cli_fail(code, "%s%s%s%s", file, *file ? ": " : "", e->text, at);
}

bool cli_put(const void *data, size_t size) {
    if (!stdout_error && fwrite(data, 1, size, stdout) != size) stdout_error = errno;
    return !stdout_error;
}

bool cli_flush(void) {
    if (!stdout_error && fflush(stdout)) stdout_error = errno;
    return !stdout_error;
}

int cli_stdout_close(int code) {
    bool failed_before = ferror(stdout);
    if (fclose(stdout) && !stdout_error) stdout_error = errno;
    if (failed_before && !stdout_error) stdout_error = EIO; /* inside a printf, whose reason is lost */
    if (!stdout_error || cli_stopped()) return code;
    if (stdout_error == EPIPE) return CLI_FAILED; /* SIGPIPE cannot end us where it is blocked: be as quiet */
    int failed = cli_fail(CLI_FAILED, "cannot write to standard output: %s", strerror(stdout_error));
    return code ? code : failed;
}

static void *checked(void *memory, size_t n, size_t size) {
    if (memory) return memory;
    cli_fail(CLI_FAILED, "out of memory (%zu x %zu bytes)", n, size);
    exit(CLI_FAILED);
}

void *cli_alloc(size_t n, size_t size) { return checked(calloc(n ? n : 1, size), n, size); }

void *cli_grow(void *memory, size_t n, size_t size) {
    size_t bytes;
    bool fits = !__builtin_mul_overflow(n ? n : 1, size, &bytes);
    return checked(fits ? realloc(memory, bytes) : NULL, n, size);
}

double cli_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
