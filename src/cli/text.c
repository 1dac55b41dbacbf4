/* SPDX-License-Identifier: MIT */
/* Text on its way to a model. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

size_t cli_unescape(char *text, size_t size) {
    static const char letters[] = "ntr\\\"'", meanings[] = "\n\t\r\\\"'";
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        const char *letter = text[i] == '\\' && i + 1 < size ? strchr(letters, text[i + 1]) : NULL;
        if (letter) {
            text[n++] = meanings[letter - letters];
            i++;
        } else if (text[i] == '\\' && i + 3 < size && text[i + 1] == 'x' && hex_digit(text[i + 2]) >= 0 && hex_digit(text[i + 3]) >= 0) {
            text[n++] = (char)(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
            i += 3;
        } else {
            text[n++] = text[i];
        }
    }
    text[n] = 0;
    return n;
}

kq_status cli_encode(const kq_tokenizer *t, const char *text, size_t size, uint32_t flags, int32_t **ids, size_t *count, kq_error *err) {
    size_t capacity = size / 2 + 16; /* mostly enough, so that the text is read once */
    *ids = cli_alloc(capacity + 1, sizeof **ids);
    kq_status status = kq_tokenizer_encode(t, text, size, flags, *ids, capacity, count, err);
    if (!status && *count > capacity) {
        capacity = *count;
        *ids = cli_grow(*ids, capacity + 1, sizeof **ids);
        status = kq_tokenizer_encode(t, text, size, flags, *ids, capacity, count, err);
    }
    if (!status) return KQ_OK;
    free(*ids);
    *ids = NULL;
    *count = 0;
    return status;
}
