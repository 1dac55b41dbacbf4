/* SPDX-License-Identifier: MIT */
/* json_check [KEY ...]: is standard input one JSON document and nothing else? With keys (or indices of arrays) it prints what lies
 * there: a string as it is, anything else as JSON. Exit 1 and a line on stderr when it is not so. */
#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    json_error_t e;
    json_t *root = json_loadf(stdin, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e), *at = root;
    if (!root) {
        fprintf(stderr, "json_check: line %d, column %d: %s\n", e.line, e.column, e.text);
        return 1;
    }
    for (int i = 1; i < argc && at; i++) {
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(argv[i])) : json_object_get(at, argv[i]);
        if (!at) fprintf(stderr, "json_check: no '%s'\n", argv[i]);
    }
    if (at && argc > 1) {
        if (json_is_string(at)) {
            puts(json_string_value(at));
        } else {
            json_dumpf(at, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
            putchar('\n');
        }
    }
    int code = at ? 0 : 1;
    json_decref(root);
    return code;
}
