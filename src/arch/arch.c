/* SPDX-License-Identifier: MIT */
/* The table of families. */
#include "arch/arch.h"

#include "file/file.h"

static const struct {
    const char *name;
    kq_arch_fn *build;
} archs[] = {
#define KQ_ARCH(id, name) {name, kq_arch_##id},
#include "arch/archs.def"
};

kq_status kq_arch_build(kq_program *p, kq_shape *shape, const kq_gguf *file, kq_error *err) {
    kq_string name;
    KQ_TRY(kq_gguf_get_string(file, "general.architecture", &name, err));
    for (size_t i = 0; i < KQ_COUNT(archs); i++) {
        if (strlen(archs[i].name) != name.size || memcmp(archs[i].name, name.data, name.size) != 0) continue;
        kq_builder b = {.program = p, .file = file, .prefix = archs[i].name, .err = err};
        kq_hyper h = {0};
        archs[i].build(&b, &h);
        *shape = (kq_shape){archs[i].name, h.n_vocab, h.n_layer, h.n_embd, h.n_ctx};
        return b.status;
    }
    return kq_fail_at(err, KQ_E_UNSUPPORTED, kq_gguf_path(file), KQ_NO_OFFSET, "general.architecture: no support for %s", KQ_SHOW(name));
}
