/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over every file of the folders given, in name order, without a fuzzer: corpora are plain tests. Each file
 * is an input whole and cut: at every byte of a small one (256 bytes), at 256 places of a larger one. Each input lies in a block of its own
 * exact size, so that the address sanitizer sees a read beyond it. Fails when nothing ran. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS = 256 };

static void run_cut(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "no memory for an input\n");
        exit(1);
    }
    if (size) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay(const char *path) {
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) || !S_ISREG(st.st_mode)) {
        if (f) fclose(f);
        return 0;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    for (size_t cut = 0, step = size / CUTS + 1; cut < size; cut += step) run_cut(data, cut);
    free(data);
    return 1;
}

int main(int argc, char **argv) {
    int n = 0;
    for (int i = 1; i < argc; i++) {
        struct dirent **names;
        int n_names = scandir(argv[i], &names, NULL, alphasort);
        if (n_names < 0) perror(argv[i]);
        for (int k = 0; k < n_names; k++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], names[k]->d_name);
            n += replay(path);
            free(names[k]);
        }
        if (n_names >= 0) free(names);
    }
    printf("%d inputs replayed\n", n);
    return n == 0;
}
