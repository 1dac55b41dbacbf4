/* SPDX-License-Identifier: MIT */
/* JSON for programs: RFC 8259, two spaces a level. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the UTF-8 character at data (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF), or 0 when there is none. */
static size_t utf8_length(const unsigned char *data, size_t size) {
    unsigned char c = data[0];
    if (c < 0x80) return 1;
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || n > size) return 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (data[1] < low || data[1] > high) return 0;
    for (size_t i = 2; i < n; i++) {
        if ((data[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

static void put_string(FILE *out, const char *text, size_t size) {
    const unsigned char *data = (const unsigned char *)text;
    putc('"', out);
    for (size_t i = 0; i < size;) {
        size_t n = utf8_length(data + i, size - i);
        unsigned char c = data[i];
        if (n == 0) {
            fputs("\xef\xbf\xbd", out);
            n = 1;
        } else if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            const char *at = c == '\n' ? "n" : c == '\t' ? "t" : c == '\r' ? "r" : NULL;
            if (at) {
                fprintf(out, "\\%s", at);
            } else {
                fprintf(out, "\\u%04x", c);
            }
        } else {
            fwrite(data + i, 1, n, out);
        }
        i += n;
    }
    putc('"', out);
}

static void separate(cli_json *j) {
    uint64_t bit = UINT64_C(1) << j->depth;
    bool list = j->list & bit;
    if (j->inner & bit) fputs(list ? ", " : ",", j->out);
    if (j->depth > 0 && !list) fprintf(j->out, "\n%*s", j->depth * 2, "");
    j->inner |= bit;
}

void cli_json_key(cli_json *j, const char *key, size_t size) {
    separate(j);
    put_string(j->out, key, size);
    fputs(": ", j->out);
    j->keyed = true;
}

/* Everything that stands before a value. */
static void begin(cli_json *j, const char *key) {
    if (key) {
        cli_json_key(j, key, strlen(key));
    } else if (!j->keyed) {
        separate(j);
    }
    j->keyed = false;
}

static void open_bracket(cli_json *j, const char *key, char bracket, bool list) {
    begin(j, key);
    putc(bracket, j->out);
    j->depth++;
    uint64_t bit = UINT64_C(1) << j->depth;
    j->inner &= ~bit;
    j->list = list ? j->list | bit : j->list & ~bit;
}

void cli_json_object(cli_json *j, const char *key) { open_bracket(j, key, '{', false); }
void cli_json_array(cli_json *j, const char *key) { open_bracket(j, key, '[', false); }
void cli_json_list(cli_json *j, const char *key) { open_bracket(j, key, '[', true); }

void cli_json_end(cli_json *j, char bracket) {
    uint64_t bit = UINT64_C(1) << j->depth;
    j->depth--;
    if ((j->inner & bit) && !(j->list & bit)) fprintf(j->out, "\n%*s", j->depth * 2, "");
    putc(bracket, j->out);
    if (j->depth == 0) putc('\n', j->out);
}

void cli_json_bytes(cli_json *j, const char *key, const char *data, size_t size) {
    begin(j, key);
    put_string(j->out, data, size);
}

void cli_json_string(cli_json *j, const char *key, const char *text) { cli_json_bytes(j, key, text, strlen(text)); }

void cli_json_u64(cli_json *j, const char *key, uint64_t v) {
    begin(j, key);
    fprintf(j->out, "%llu", (unsigned long long)v);
}

void cli_json_i64(cli_json *j, const char *key, int64_t v) {
    begin(j, key);
    fprintf(j->out, "%lld", (long long)v);
}

void cli_json_f64(cli_json *j, const char *key, double v) {
    if (!isfinite(v)) {
        cli_json_null(j, key);
        return;
    }
    begin(j, key);
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    fputs(text, j->out);
}

void cli_json_f32(cli_json *j, const char *key, float v) {
    if (!isfinite(v)) {
        cli_json_null(j, key);
        return;
    }
    begin(j, key);
    char text[40];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    fputs(text, j->out);
}

void cli_json_bool(cli_json *j, const char *key, bool v) {
    begin(j, key);
    fputs(v ? "true" : "false", j->out);
}

void cli_json_null(cli_json *j, const char *key) {
    begin(j, key);
    fputs("null", j->out);
}
