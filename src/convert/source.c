/* SPDX-License-Identifier: MIT */
/* Opens a model from whatever it is kept in. */
#include "convert/convert.h"

#include <sys/stat.h>

kq_status kq_source_open(kq_gguf **out, const char *path, const kq_source_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_source_open: out is NULL");
    *out = NULL;
    if (!path) return kq_fail(err, KQ_E_ARGUMENT, "kq_source_open: path is NULL");
    kq_source_options o;
    kq_options_read(&o, sizeof o, options);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return kq_folder_open(out, path, &o, err);
    kq_gguf_options gguf = KQ_OPTIONS_INIT(kq_gguf_options);
    gguf.allocator = o.allocator;
    return kq_gguf_open(out, path, &gguf, err);
}

const char *kq_source_form(const kq_gguf *g) { return g->owner.object ? g->owner.form : "gguf"; }
