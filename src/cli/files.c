/* SPDX-License-Identifier: MIT */
/* Input files, and output files that appear only when they are complete. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading -------------------------------------------------------------------------------------------------------- */

bool cli_read_file(const char *path, char **data, size_t *size) {
    const size_t limit = (size_t)1 << 30; /* kq_tokenizer_encode's */
    bool is_stdin = !strcmp(path, "-");
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    *data = NULL;
    *size = 0;
    if (fd < 0) return cli_fail(CLI_FAILED, "%s: cannot open: %s", name, strerror(errno)), false;
    size_t capacity = 0, n = 0;
    ssize_t got;
    do {
        if (capacity - n < 2) *data = cli_grow(*data, capacity = capacity ? capacity * 2 : 1 << 16, 1);
        got = read(fd, *data + n, capacity - n - 1);
        if (got > 0) n += (size_t)got;
    } while (got > 0 && n <= limit);
    if (got < 0 && !cli_stopped()) cli_fail(CLI_FAILED, "%s: cannot read: %s", name, strerror(errno));
    if (got > 0) cli_fail(CLI_FAILED, "%s: longer than the limit of %zu bytes", name, limit);
    if (!is_stdin) close(fd);
    if (got) {
        free(*data);
        *data = NULL;
        return false;
    }
    (*data)[n] = 0;
    *size = n;
    return true;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static bool output_failed(cli_output *o, const char *what) {
    if (!cli_stopped()) cli_fail(CLI_FAILED, "%s: cannot %s: %s", o->path ? o->path : "standard output", what, strerror(errno));
    cli_output_drop(o);
    return false;
}

bool cli_output_open(cli_output *o, const char *path, const char *input) {
    *o = (cli_output){0};
    if (!strcmp(path, "-")) {
        o->file = stdout;
        return true;
    }
    struct stat st, in;
    bool exists = stat(path, &st) == 0;
    char *resolved = exists ? realpath(path, NULL) : NULL; /* a link's target is replaced, not the link */
    const char *target = resolved ? resolved : path;
    size_t length = strlen(target);
    o->path = cli_alloc(length + 1, 1);
    memcpy(o->path, target, length);
    free(resolved);
    if (exists && input && stat(input, &in) == 0 && st.st_dev == in.st_dev && st.st_ino == in.st_ino) {
        cli_fail(CLI_FAILED, "%s: is the model itself; choose another name for the output", path);
        cli_output_drop(o);
        return false;
    }
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return output_failed(o, "write");
    }
    if (exists && !S_ISREG(st.st_mode)) { /* a device or a pipe: nothing to be renamed over */
        o->file = fopen(o->path, "wb");
        return o->file ? true : output_failed(o, "open");
    }
    char *temporary = cli_alloc(length + 12, 1);
    snprintf(temporary, length + 12, "%s.XXXXXX", o->path);
    int fd = mkstemp(temporary);
    if (fd < 0) {
        free(temporary);
        return output_failed(o, "create");
    }
    o->temporary = temporary;
    mode_t mask = umask(0);
    umask(mask);
    (void)!fchmod(fd, exists ? st.st_mode & 07777 : 0666 & ~mask); /* mkstemp made it 0600 */
    o->file = fdopen(fd, "wb");
    if (o->file) return true;
    close(fd);
    return output_failed(o, "create");
}

bool cli_output_write(cli_output *o, const void *data, size_t size) {
    if (o->file == stdout) return cli_put(data, size); /* cli_stdout_close reports */
    return fwrite(data, 1, size, o->file) == size ? true : output_failed(o, "write");
}

bool cli_output_commit(cli_output *o) {
    if (o->file == stdout) return cli_flush();
    if (fflush(o->file)) return output_failed(o, "write");
    if (!o->temporary) return true;
    if (fsync(fileno(o->file))) return output_failed(o, "write");
    if (rename(o->temporary, o->path)) return output_failed(o, "rename the finished file");
    free(o->temporary);
    o->temporary = NULL;
    /* the directory too, so that the name survives a power cut; some file systems refuse, and the data is safe anyway */
    char *slash = strrchr(o->path, '/');
    if (slash) slash[slash == o->path] = 0;
    int fd = open(slash ? o->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    return true;
}

void cli_output_drop(cli_output *o) {
    if (o->file && o->file != stdout) fclose(o->file);
    if (o->temporary) unlink(o->temporary);
    free(o->temporary);
    free(o->path);
    *o = (cli_output){0};
}
