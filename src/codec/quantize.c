/* SPDX-License-Identifier: MIT */
/* The public encoding of blocks: checks, then the codec's encoder, tiles of rows shared among the pool. */
#include "codec/codec.h"

#include <stdatomic.h>

/* Weights in a tile: enough work that taking a tile from the pool costs nothing, few enough that threads end together. */
enum { TILE_WEIGHTS = 16384 };

typedef struct job {
    const kq_codec_info *info;
    kq_encode_fn *encode;           /* the reference */
    kq_encode_rows_fn *encode_rows; /* NULL: there is only the reference */
    const float *src, *importances;
    uint8_t *dst;
    uint64_t rows, cols, row_bytes, group_rows, tile_rows;
    bool finite_only;
    _Atomic uint64_t failed; /* the first row that could not be encoded, or UINT64_MAX */
} job;

/* The first of n that is NaN or infinite; n if none is. */
static uint64_t first_not_finite(const float *x, uint64_t n) {
    float sum[16] = {0}; /* x - x is 0 for what is finite, else NaN */
    uint64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int k = 0; k < 16; k++) sum[k] += x[i + (uint64_t)k] - x[i + (uint64_t)k];
    }
    float all = 0;
    for (int k = 0; k < 16; k++) all += sum[k];
    for (; i < n; i++) all += x[i] - x[i];
    for (i = all == 0 ? n : 0; i < n; i++) {
        if ((kq_f32_to_bits(x[i]) & 0x7f800000) == 0x7f800000) return i;
    }
    return n;
}

/* Rows first .. end - 1, of one group of importances. The first that fails, or end. */
static uint64_t encode_rows(const job *j, uint64_t first, uint64_t end) {
    const float *importances = j->importances ? j->importances + first / j->group_rows * j->cols : NULL;
    uint64_t bad = end;
    if (j->finite_only) {
        uint64_t at = first_not_finite(j->src + first * j->cols, (end - first) * j->cols);
        bad = first + at / j->cols;
    }
    if (j->encode_rows && j->encode_rows(j->src + first * j->cols, (size_t)(bad - first), (size_t)j->cols, importances,
                                         j->dst + first * j->row_bytes)) {
        return bad;
    }
    for (uint64_t row = first; row < bad; row++) {
        if (!j->encode(j->src + row * j->cols, (size_t)j->cols, importances, j->dst + row * j->row_bytes)) return row;
    }
    return bad;
}

static void encode_tile(void *ctx, size_t tile, size_t worker) {
    (void)worker;
    job *j = ctx;
    uint64_t first = tile * j->tile_rows, last = KQ_MIN(first + j->tile_rows, j->rows);
    while (first < last) {
        uint64_t failed = atomic_load(&j->failed);
        if (first > failed) return; /* a row before has failed already, so which one is named depends on no thread */
        uint64_t end = KQ_MIN(last, (first / j->group_rows + 1) * j->group_rows), row = encode_rows(j, first, end);
        if (row < end) {
            while (row < failed && !atomic_compare_exchange_weak(&j->failed, &failed, row)) {}
            return;
        }
        first = end;
    }
}

static kq_status fail_row(const job *j, uint64_t row, kq_error *err) {
    const float *x = j->src + row * j->cols;
    uint64_t at = j->finite_only ? first_not_finite(x, j->cols) : j->cols;
    if (at < j->cols) {
        return kq_fail(err, KQ_E_ARGUMENT, "row %llu, column %llu is %s", (unsigned long long)row, (unsigned long long)at,
                       x[at] != x[at] ? "NaN" : "infinite");
    }
    return kq_fail(err, KQ_E_ARGUMENT, "row %llu has weights too large for the search of %s", (unsigned long long)row, j->info->name);
}

static kq_status check_importances(const job *j, uint64_t given, kq_error *err) {
    uint64_t groups = j->rows / j->group_rows, need;
    if (j->rows % j->group_rows) {
        return kq_fail(err, KQ_E_ARGUMENT, "%llu rows are no whole number of groups of %llu", (unsigned long long)j->rows,
                       (unsigned long long)j->group_rows);
    }
    if (!kq_mul(groups, j->cols, &need) || given != need) {
        return kq_fail(err, KQ_E_ARGUMENT, "there are %llu importances, %llu groups of %llu columns need %s",
                       (unsigned long long)given, (unsigned long long)groups, (unsigned long long)j->cols,
                       given > need ? "fewer" : "more");
    }
    for (uint64_t i = 0; i < need; i++) {
        uint32_t bits = kq_f32_to_bits(j->importances[i]);
        if ((bits & 0x7f800000) != 0x7f800000 && j->importances[i] >= 0) continue;
        return kq_fail(err, KQ_E_ARGUMENT, "importance of group %llu, column %llu is %g", (unsigned long long)(i / j->cols),
                       (unsigned long long)(i % j->cols), (double)j->importances[i]);
    }
    return KQ_OK;
}

kq_status kq_quantize(uint32_t codec, const float *src, size_t src_floats, uint64_t rows, uint64_t cols, void *dst, size_t dst_bytes,
                      const kq_quantize_options *options, kq_error *err) {
    kq_quantize_options o;
    uint64_t row_bytes, floats, bytes;
    kq_options_read(&o, sizeof o, options);
    KQ_TRY(kq_row_bytes(codec, cols, &row_bytes, err));
    const kq_codec_info *info = kq_codec_describe(codec);
    if (!info->decodes) return kq_fail(err, KQ_E_ARGUMENT, "%s is plain data, it has no encoding", info->name);
    if (!src || !dst) return kq_fail(err, KQ_E_ARGUMENT, "%s is NULL", src ? "dst" : "src");
    if (!kq_mul(rows, cols, &floats) || src_floats < floats) {
        return kq_fail(err, KQ_E_ARGUMENT, "src has %zu floats, fewer than %llu rows of %llu", src_floats, (unsigned long long)rows,
                       (unsigned long long)cols);
    }
    if (!kq_mul(rows, row_bytes, &bytes) || dst_bytes < bytes) {
        return kq_fail(err, KQ_E_ARGUMENT, "dst has %zu bytes, fewer than %llu rows of %llu in %s", dst_bytes, (unsigned long long)rows,
                       (unsigned long long)row_bytes, info->name);
    }
    if (info->needs_importances && !o.importances) return kq_fail(err, KQ_E_ARGUMENT, "%s cannot be encoded without importances", info->name);
    if (floats == 0) return KQ_OK;
    const kq_encoder *fast = kq_encoder_select(codec, kq_cpu_usable(o.cpu_mask));
    job j = {.info = info, .encode = kq_codec_encoder(codec), .encode_rows = fast ? fast->encode : NULL, .src = src, .importances = o.importances, .dst = dst, .rows = rows,
             .cols = cols, .row_bytes = row_bytes, .group_rows = o.group_rows ? o.group_rows : rows,
             .finite_only = codec != KQ_F32 && codec != KQ_F16 && codec != KQ_BF16, .failed = UINT64_MAX};
    if (o.importances) KQ_TRY(check_importances(&j, o.importance_floats, err));
    j.tile_rows = KQ_MAX(1, TILE_WEIGHTS / cols);
    kq_pool_run(o.pool, (size_t)((rows - 1) / j.tile_rows + 1), encode_tile, &j);
    uint64_t failed = atomic_load(&j.failed);
    return failed == UINT64_MAX ? KQ_OK : fail_row(&j, failed, err);
}
