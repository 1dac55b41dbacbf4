/* SPDX-License-Identifier: MIT */
/* The public decoding of blocks: checks, then this machine's decoder of the codec. The table of kernels is made by the first call; it is
 * the only state of the library that no object owns, and never changes again. */
#include "cpu/kernels.h"

#include <pthread.h>

static kq_cpu_table table;
static void choose(void) { kq_cpu_select(&table, kq_cpu_usable(KQ_CPU_ALL)); }

kq_status kq_dequantize(uint32_t codec, const void *src, size_t src_bytes, uint64_t weights, float *dst, size_t dst_floats,
                        kq_error *err) {
    uint64_t need;
    KQ_TRY(kq_row_bytes(codec, weights, &need, err));
    const kq_codec_info *info = kq_codec_describe(codec);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    kq_decode_fn *decode = table.decode[codec];
    if (!decode) return kq_fail(err, KQ_E_ARGUMENT, "%s is plain data, it has no decoding", info->name);
    if (!src || !dst) return kq_fail(err, KQ_E_ARGUMENT, "%s is NULL", src ? "dst" : "src");
    if (src_bytes < need) {
        return kq_fail(err, KQ_E_ARGUMENT, "src has %zu bytes, %llu weights in %s need %llu", src_bytes, (unsigned long long)weights,
                       info->name, (unsigned long long)need);
    }
    if (dst_floats < weights) {
        return kq_fail(err, KQ_E_ARGUMENT, "dst has room for %zu floats, %llu are asked for", dst_floats, (unsigned long long)weights);
    }
    if ((uintptr_t)dst % sizeof *dst) return kq_fail(err, KQ_E_ARGUMENT, "dst is not aligned as floats are");
    size_t n = (size_t)(weights / info->block_weights);
    if (weights >= KQ_STREAM_FROM) table.stream[KQ_F32](decode, src, n, info->block_bytes, info->block_weights, dst, true);
    else decode(src, n, dst);
    return KQ_OK;
}
