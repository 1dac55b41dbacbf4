/* SPDX-License-Identifier: MIT */
/* For tests: a folder of a test's own, which goes with all that is in it. */
#ifndef KQ_TESTS_FOLDER_H
#define KQ_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

/* Both return what cmocka wants of set-ups and tear-downs: 0 when it is done. `name` is a word, which is in the path. */
static inline int folder_make(char path[64], const char *name) {
    snprintf(path, 64, "/tmp/kquant-%s-XXXXXX", name);
    return mkdtemp(path) ? 0 : -1;
}
static inline int folder_remove(const char *path) {
    char command[192];
    snprintf(command, sizeof command, "chmod -R u+w %s && rm -r %s", path, path);
    return system(command);
}

#endif
