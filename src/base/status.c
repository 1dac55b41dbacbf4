/* SPDX-License-Identifier: MIT */
/* Status names and error text. */
#include "base/base.h"

#ifdef __clang_analyzer__
#undef kq_fail
#undef kq_fail_at
#undef kq_fail_memory
#endif

#include <stdio.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kquant reads little-endian files by mapping them: big-endian hosts are not supported"
#endif

const char *kq_version(void) { return KQ_VERSION; }

const char *kq_status_name(kq_status status) {
    switch (status) {
    case KQ_OK: return "ok";
    case KQ_E_ARGUMENT: return "bad argument";
    case KQ_E_CONTEXT: return "context full";
    case KQ_E_CANCELLED: return "cancelled";
    case KQ_E_MEMORY: return "out of memory";
    case KQ_E_SYSTEM: return "system error";
    case KQ_E_IO: return "input/output error";
    case KQ_E_FORMAT: return "bad format";
    case KQ_E_LIMIT: return "over a limit";
    case KQ_E_MODEL: return "bad model";
    case KQ_E_UNSUPPORTED: return "unsupported";
    case KQ_E_PROGRAM: return "bad program";
    }
    return "unknown status";
}

/* Copies with control bytes as \xHH. Bytes above 0x7f pass: names are UTF-8 more often than not, but a sequence cut at the end is
 * dropped whole, so that a terminal never sees half a character. */
static void copy_printable(char *out, size_t size, const char *in) {
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)in; *p; p++) {
        bool plain = *p >= 0x20 && *p != 0x7f;
        if (n + (plain ? 1 : 4) >= size) break;
        if (plain) {
            out[n++] = (char)*p;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[*p >> 4];
            out[n++] = hex[*p & 15];
        }
    }
    size_t tail = 0; /* continuation bytes at the end */
    while (tail < n && tail < 3 && ((unsigned char)out[n - 1 - tail] & 0xc0) == 0x80) tail++;
    if (tail < n && (unsigned char)out[n - 1 - tail] >= 0xc0) {
        unsigned char lead = (unsigned char)out[n - 1 - tail];
        size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (tail < want) n -= tail + 1;
    }
    out[n] = 0;
}

static void fill(kq_error *err, kq_status status, const char *file, uint64_t offset, const char *format, va_list args) {
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    err->status = status;
    err->offset = offset;
    copy_printable(err->text, sizeof err->text, text);
    size_t length = strlen(file);
    const char *end = length < sizeof err->file ? file : file + (length - (sizeof err->file - 1));
    copy_printable(err->file, sizeof err->file, end);
}

kq_status kq_fail(kq_error *err, kq_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, status, "", KQ_NO_OFFSET, format, args);
        va_end(args);
    }
    return status;
}

kq_status kq_fail_at(kq_error *err, kq_status status, const char *file, uint64_t offset, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, status, file ? file : "", offset, format, args);
        va_end(args);
    }
    return status;
}

kq_status kq_fail_memory(kq_error *err, uint64_t bytes, const char *what) {
    return kq_fail(err, KQ_E_MEMORY, "no memory for %s (%llu bytes)", what, (unsigned long long)bytes);
}

void kq_options_read(void *out, size_t size, const void *given) {
    memset(out, 0, size);
    if (!given) return;
    size_t known;
    memcpy(&known, given, sizeof known);
    memcpy(out, given, KQ_MIN(known, size));
    memcpy(out, &size, sizeof size);
}
