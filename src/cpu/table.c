/* SPDX-License-Identifier: MIT */
/* The choice of kernels: every use of kernels.def but the checks. */
#include "cpu/kernels.h"

#include <kquant/model.h>

/* codec numbers by lower-case id, which is how rows spell them */
enum {
#define KQ_CODEC(id, LABEL, type, weights, bytes) codec_##id = (type),
#include "codec/codecs.def"
};

const kq_kernel kq_kernels[] = {
#define KQ_KERNEL(op, codec, variant, needs, check) \
    {#op "_" #codec "_" #variant, #variant, KQ_KERNEL_##op, codec_##codec, (needs), KQ_##check, (void (*)(void))kq_##op##_##codec##_##variant},
#include "cpu/kernels.def"
};
const size_t kq_n_kernels = KQ_COUNT(kq_kernels);

#define NAME(op) #op,
const char *const kq_kernel_op_names[KQ_N_KERNEL_OPS] = {KQ_KERNEL_OPS(NAME)};

void kq_cpu_select(kq_cpu_table *table, uint32_t features) {
    *table = (kq_cpu_table){.features = features};
#define KQ_KERNEL(op, codec, variant, needs, check) \
    if ((features & (needs)) == (needs)) table->op[codec_##codec] = kq_##op##_##codec##_##variant;
#include "cpu/kernels.def"
}

void kq_kernels_list(uint32_t cpu_mask, void (*row)(void *ctx, const kq_kernel_row *row), void *ctx) {
    uint32_t features = kq_cpu_usable(cpu_mask);
    for (size_t i = 0; i < kq_n_kernels; i++) {
        const kq_kernel *k = &kq_kernels[i];
        bool chosen = (features & k->needs) == k->needs;
        for (size_t j = i + 1; j < kq_n_kernels && chosen; j++) {
            const kq_kernel *later = &kq_kernels[j];
            if (later->op == k->op && later->codec == k->codec && (features & later->needs) == later->needs) chosen = false;
        }
        if (chosen) row(ctx, &(kq_kernel_row){kq_kernel_op_names[k->op], kq_codec_describe(k->codec)->name, k->variant});
    }
}
