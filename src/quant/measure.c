/* SPDX-License-Identifier: MIT */
/* How well codecs hold a tensor: a sample of its rows, spread over all of it, is encoded and decoded, and the squared error set against
 * the squared weights, both counted by importances where they are known. */
#include "quant/quant.h"

#include <math.h>

typedef unsigned long long ull; /* for printf */

/* Enough for a few per cent of a tensor's error. */
enum { SAMPLE = 1 << 15 };

typedef struct sample {
    const kq_gguf_tensor *t;
    uint64_t columns, n; /* rows taken */
    float *x;            /* [n][columns] */
    uint64_t *rows;      /* which */
    float *importances;  /* [dims[2]][columns], or NULL */
    uint8_t *raw;        /* a row as it is in the source */
} sample;

/* One row from each of n equal stretches, at a place in it that a hash of its number picks: rows of a head, or of one kind of token, that
 * come back at equal distances are not met again and again. */
static uint64_t pick_row(uint64_t i, uint64_t n, uint64_t rows) {
    uint64_t first = i * (rows / n) + KQ_MIN(i, rows % n), length = rows / n + (i < rows % n);
    uint64_t hash = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return first + (hash ^ hash >> 29) % KQ_MAX(length, 1); /* length >= 1: n <= rows */
}

static void sample_free(sample *s, const kq_allocator *a) {
    kq_free(a, s->x);
    kq_free(a, s->rows);
    kq_free(a, s->importances);
    kq_free(a, s->raw);
}

static kq_status read_rows(sample *s, const kq_gguf *g, uint64_t row_bytes, kq_error *err) {
    const kq_gguf_tensor *t = s->t;
    uint64_t rows = t->weights / t->dims[0];
    for (uint64_t i = 0; i < s->n; i++) {
        s->rows[i] = pick_row(i, s->n, rows);
        float *x = s->x + i * s->columns;
        KQ_TRY(kq_gguf_tensor_read(g, t, s->rows[i] * row_bytes, row_bytes, s->raw, err));
        KQ_TRY(kq_dequantize(t->codec, s->raw, (size_t)row_bytes, s->columns, x, (size_t)s->columns, err));
        for (uint64_t k = 0; k < s->columns; k++) {
            if (isfinite(x[k])) continue;
            return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(g), t->offset, "tensor %s: row %llu holds NaN or infinity", KQ_SHOW(t->name),
                              (ull)s->rows[i]);
        }
    }
    return KQ_OK;
}

static kq_status sample_read(sample *s, const kq_gguf *g, const kq_imatrix *im, const kq_allocator *a, kq_error *err) {
    const kq_gguf_tensor *t = s->t;
    uint64_t rows = t->weights / t->dims[0], row_bytes;
    s->columns = t->dims[0];
    s->n = KQ_MAX(1, KQ_MIN(rows, SAMPLE / s->columns));
    KQ_TRY(kq_row_bytes(t->codec, s->columns, &row_bytes, err));
    s->x = kq_alloc_raw(a, s->n * s->columns, sizeof *s->x); /* at most SAMPLE, or one row that is in the file */
    s->rows = kq_alloc_raw(a, s->n, sizeof *s->rows);
    s->raw = kq_alloc_raw(a, row_bytes, 1);
    if (!s->x || !s->rows || !s->raw) return kq_fail_memory(err, s->n * s->columns * sizeof *s->x, "a sample of weights");
    if (im) {
        bool found;
        s->importances = kq_alloc_raw(a, t->dims[0] * t->dims[2], sizeof *s->importances); /* fewer than the tensor has weights */
        if (!s->importances) return kq_fail_memory(err, t->dims[0] * t->dims[2] * sizeof *s->importances, "importances");
        KQ_TRY(kq_imatrix_weights(im, t->name.data, t->dims[0], t->dims[2], s->importances, &found, err));
    }
    return read_rows(s, g, row_bytes, err);
}

/* ---- one codec ----------------------------------------------------------------------------------------------------- */

typedef struct job {
    const sample *s;
    const kq_codec *codecs;
    double *errors;
    uint8_t *encoded; /* room for a row in any of the codecs, for each worker */
    float *decoded;
    size_t encoded_size;
} job;

static const float *importances_of(const sample *s, uint64_t row) {
    return s->importances ? s->importances + row / s->t->dims[1] * s->columns : NULL;
}

/* Adds to the squared error and to the squared weights. False where the encoder cannot do it. */
static bool try_row(const job *j, kq_codec codec, uint64_t i, uint8_t *encoded, float *decoded, double *error, double *whole) {
    const sample *s = j->s;
    const float *x = s->x + i * s->columns, *h = importances_of(s, s->rows[i]);
    kq_quantize_options o = KQ_OPTIONS_INIT(kq_quantize_options);
    o.importances = h;
    o.importance_floats = h ? (size_t)s->columns : 0;
    size_t n = (size_t)s->columns;
    if (kq_quantize(codec, x, n, 1, n, encoded, j->encoded_size, &o, NULL)) return false;
    if (kq_dequantize(codec, encoded, j->encoded_size, n, decoded, n, NULL)) return false;
    for (size_t k = 0; k < n; k++) {
        double weight = h ? (double)h[k] : 1.0, d = (double)decoded[k] - (double)x[k];
        *error += weight * d * d;
        *whole += weight * (double)x[k] * (double)x[k];
    }
    return true;
}

static void try_codec(void *ctx, size_t i, size_t worker) {
    const job *j = ctx;
    uint8_t *encoded = j->encoded + worker * j->encoded_size;
    float *decoded = j->decoded + worker * j->s->columns;
    double error = 0.0, whole = 0.0;
    for (uint64_t row = 0; row < j->s->n; row++) {
        if (!try_row(j, j->codecs[i], row, encoded, decoded, &error, &whole)) {
            j->errors[i] = INFINITY;
            return;
        }
    }
    j->errors[i] = !isfinite(error) ? INFINITY : error == 0.0 ? 0.0 : error / whole;
}

static kq_status try_codecs(const kq_measure *m, const sample *s, const kq_codec *codecs, size_t n, double *errors, kq_error *err) {
    size_t workers = (size_t)kq_pool_threads(m->pool);
    uint64_t most = 0, bytes;
    for (size_t i = 0; i < n; i++) {
        KQ_TRY(kq_row_bytes(codecs[i], s->columns, &bytes, err));
        most = KQ_MAX(most, bytes);
    }
    job j = {.s = s, .codecs = codecs, .errors = errors, .encoded_size = (size_t)most};
    j.encoded = kq_alloc_raw(&m->allocator, workers, most);
    j.decoded = kq_alloc_raw(&m->allocator, workers * s->columns, sizeof(float));
    kq_status status = KQ_OK;
    if (j.encoded && j.decoded) kq_pool_run(m->pool, n, try_codec, &j);
    else status = kq_fail_memory(err, workers * (most + s->columns * sizeof(float)), "a sample of weights");
    kq_free(&m->allocator, j.encoded);
    kq_free(&m->allocator, j.decoded);
    return status;
}

kq_status kq_measure_tensor(const kq_measure *m, const kq_gguf_tensor *t, bool weighted, const kq_codec *codecs, size_t n, double *errors,
                            kq_error *err) {
    sample s = {.t = t};
    kq_status status = sample_read(&s, m->g, weighted ? m->imatrix : NULL, &m->allocator, err);
    if (!status) status = try_codecs(m, &s, codecs, n, errors, err);
    sample_free(&s, &m->allocator);
    return status;
}
