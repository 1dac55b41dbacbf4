/* SPDX-License-Identifier: MIT */
/* two_copies LIBRARY MODEL: a host may hold two copies of kquant, say its own and a plugin's. Both are opened here, the second from a copy of
 * the file, with all their symbols in one scope; each must keep to itself, and both must open the model at the same time. */
#include <kquant/kquant.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void require(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "two_copies: %s\n", what);
    exit(1);
}

static void copy_file(const char *from, int to) {
    FILE *in = fopen(from, "rb");
    require(in != NULL, "the library cannot be read");
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;) require(write(to, buffer, n) == (ssize_t)n, "the copy cannot be written");
    fclose(in);
}

typedef struct copy {
    kq_status (*open)(kq_model **out, const char *path, const kq_model_options *options, kq_error *err);
    void (*close)(kq_model *m);
    const char *(*version)(void);
} copy;

static copy load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    require(handle != NULL, "a copy cannot be opened");
    copy c;
    *(void **)&c.open = dlsym(handle, "kq_model_open");
    *(void **)&c.close = dlsym(handle, "kq_model_close");
    *(void **)&c.version = dlsym(handle, "kq_version");
    require(c.open && c.close && c.version, "a function is missing");
    return c;
}

int main(int argc, char **argv) {
    require(argc == 3, "usage: two_copies LIBRARY MODEL");
    char path[] = "/tmp/kquant-copy-XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0, "no temporary file");
    copy_file(argv[1], fd);
    close(fd);
    copy ours = load(argv[1]), theirs = load(path);
    unlink(path);

    require(ours.open != theirs.open && ours.close != theirs.close, "both copies are the same code");
    require(!strcmp(ours.version(), KQ_VERSION) && !strcmp(theirs.version(), KQ_VERSION), "a version is wrong");
    Dl_info a, b; /* what one copy returns lies in that copy: it did not call the other's */
    require(dladdr(ours.version(), &a) && dladdr(theirs.version(), &b) && a.dli_fbase != b.dli_fbase, "one copy uses the other");
    kq_model *first = NULL, *second = NULL;
    require(!ours.open(&first, argv[2], NULL, NULL) && !theirs.open(&second, argv[2], NULL, NULL), "the model cannot be opened twice");
    ours.close(first);
    theirs.close(second);
    return 0;
}
