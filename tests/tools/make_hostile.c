/* SPDX-License-Identifier: MIT */
/* make_hostile DIRECTORY: writes the hostile corpus as files, and beside them two lists of what to open, one path a line:
 * REFUSE (each is to be refused) and ACCEPT (valid controls). */
#include "gguf_corpus.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct lists {
    const char *directory;
    FILE *refuse, *accept;
    int n, failed;
} lists;

static void note(lists *l, kq_status status, const char *path) {
    l->n++;
    if (fprintf(status ? l->refuse : l->accept, "%s\n", path) < 0) l->failed = 1;
}

static void one(void *ctx, const gguf_case *c) {
    lists *l = ctx;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.gguf", l->directory, c->name);
    if (write_file(path, c->data, c->size)) l->failed = 1;
    note(l, c->status, path);
}

static void split(void *ctx, const gguf_split_case *c) { note(ctx, c->status, c->path); }

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: make_hostile DIRECTORY\n");
        return 2;
    }
    char refuse[512], accept[512];
    mkdir(argv[1], 0777);
    snprintf(refuse, sizeof refuse, "%s/REFUSE", argv[1]);
    snprintf(accept, sizeof accept, "%s/ACCEPT", argv[1]);
    lists l = {.directory = argv[1], .refuse = fopen(refuse, "w"), .accept = fopen(accept, "w")};
    if (!l.refuse || !l.accept) {
        fprintf(stderr, "make_hostile: cannot write into %s\n", argv[1]);
        return 1;
    }
    gguf_corpus(one, &l);
    if (gguf_split_corpus(argv[1], split, &l)) l.failed = 1;
    if (fclose(l.refuse) || fclose(l.accept)) l.failed = 1;
    printf("%d files in %s\n", l.n, argv[1]);
    return l.failed;
}
