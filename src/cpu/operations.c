/* SPDX-License-Identifier: MIT */
/* The public operations: every operand is checked against its buffer, brought into the drivers' shape (rows of floats with one pitch)
 * where it is not, and brought back. The copies cost M * (K + N) moves beside a product of M * N * K. */
#include "cpu/op.h"

#include <kquant/ops.h>

enum {
    PANEL_COLS = 256, /* of w that a task of the transposed product decodes: a whole number of every codec's blocks */
    PANEL_ROWS = 32,  /* at a time: 32 KB of floats */
    PIECE = 512       /* of a row that is decoded before it is narrowed */
};

struct kq_device {
    kq_allocator allocator;
    kq_pool *pool;
    bool exact;
    kq_cpu_table table;
    uint8_t *scratch;
    uint64_t scratch_bytes;
};

kq_status kq_device_open(kq_device **out, const kq_device_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "out is NULL");
    *out = NULL;
    kq_device_options o;
    kq_options_read(&o, sizeof o, options);
    if (o.mode != KQ_FAST && o.mode != KQ_EXACT) return kq_fail(err, KQ_E_ARGUMENT, "mode %d is neither KQ_FAST nor KQ_EXACT", (int)o.mode);
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_device *device = kq_alloc(&a, 1, sizeof *device);
    if (!device) return kq_fail_memory(err, sizeof *device, "operations");
    device->allocator = a;
    device->pool = o.pool;
    device->exact = o.mode == KQ_EXACT;
    kq_cpu_select(&device->table, kq_cpu_usable(o.cpu_mask));
    *out = device;
    return KQ_OK;
}

void kq_device_close(kq_device *device) {
    if (!device) return;
    kq_allocator a = device->allocator;
    kq_free(&a, device->scratch);
    kq_free(&a, device);
}

uint64_t kq_device_scratch(const kq_device *device) { return device->scratch_bytes; }

/* At least `bytes` of scratch, whose contents are lost; `fits` says whether the number did not overflow. */
static kq_status reserve(kq_device *device, uint64_t bytes, bool fits, kq_error *err) {
    if (fits && bytes <= device->scratch_bytes) return KQ_OK;
    uint8_t *larger = fits ? kq_alloc_raw(&device->allocator, bytes, 1) : NULL;
    if (!larger) return kq_fail_memory(err, fits ? bytes : UINT64_MAX, "an operation's scratch");
    kq_free(&device->allocator, device->scratch);
    device->scratch = larger;
    device->scratch_bytes = bytes;
    return KQ_OK;
}

/* ---- operands ------------------------------------------------------------------------------------------------------ */

/* Activations or results with their defaults filled in. */
typedef struct rows {
    const char *name;
    uint32_t type, size; /* of an element */
    uint8_t *data;
    uint64_t rows, cols, stride, batch, batch_stride; /* in elements */
    bool plain;          /* floats, one pitch for the rows of all the batch: the drivers take them as they are */
} rows;

static uint32_t type_bytes(uint32_t type) { return type == KQ_F32 ? 4 : type == KQ_F16 || type == KQ_BF16 ? 2 : 0; }

static kq_status check_rows(rows *r, size_t bytes, bool written, kq_error *err) {
    r->size = type_bytes(r->type);
    if (!r->size) return kq_fail(err, KQ_E_ARGUMENT, "%s: type %u is not f32, f16 or bf16", r->name, r->type);
    uint64_t span, last, n;
    bool fits;
    if (!r->batch) r->batch = 1;
    if (!r->stride) r->stride = r->cols;
    fits = kq_mul(r->rows, r->stride, &span);
    if (!r->batch_stride) r->batch_stride = span;
    fits = fits && kq_mul(r->rows, r->batch, &n) && kq_mul(r->rows, r->cols, &n) && kq_mul(n, r->batch, &n) && n <= INT64_MAX / sizeof(float);
    if (!fits) return kq_fail(err, KQ_E_ARGUMENT, "%s: its dimensions overflow", r->name);
    if (written && r->stride < r->cols) {
        return kq_fail(err, KQ_E_ARGUMENT, "%s: rows of %llu overlap at a stride of %llu", r->name, (unsigned long long)r->cols,
                       (unsigned long long)r->stride);
    }
    if (written && r->batch > 1 && r->batch_stride < span) {
        return kq_fail(err, KQ_E_ARGUMENT, "%s: matrices of %llu elements overlap at a stride of %llu", r->name, (unsigned long long)span,
                       (unsigned long long)r->batch_stride);
    }
    r->plain = r->type == KQ_F32 && (r->batch == 1 || r->batch_stride == span);
    if (!n) return KQ_OK;
    if (!r->data) return kq_fail(err, KQ_E_ARGUMENT, "%s: data is NULL", r->name);
    if ((uintptr_t)r->data % r->size) return kq_fail(err, KQ_E_ARGUMENT, "%s: data is not aligned to %u bytes", r->name, r->size);
    fits = kq_mul(r->batch - 1, r->batch_stride, &last) && kq_mul(r->rows - 1, r->stride, &span) && kq_add(last, span, &last) &&
           kq_add(last, r->cols, &last);
    if (!fits || last > bytes / r->size) {
        return kq_fail(err, KQ_E_ARGUMENT, "%s: %zu bytes hold no %llu x %llu x %llu elements with strides of %llu and %llu", r->name, bytes,
                       (unsigned long long)r->batch, (unsigned long long)r->rows, (unsigned long long)r->cols,
                       (unsigned long long)r->batch_stride, (unsigned long long)r->stride);
    }
    return KQ_OK;
}

static kq_status check_activations(rows *r, const kq_activations *x, kq_error *err) {
    if (!x) return kq_fail(err, KQ_E_ARGUMENT, "x is NULL");
    *r = (rows){.name = "x", .type = x->type, .data = (uint8_t *)(uintptr_t)x->data, .rows = x->rows, .cols = x->cols, .stride = x->row_stride,
                .batch = x->batch, .batch_stride = x->batch_stride}; /* never written through */
    return check_rows(r, x->bytes, false, err);
}

static kq_status check_results(rows *r, const kq_results *y, kq_error *err) {
    if (!y) return kq_fail(err, KQ_E_ARGUMENT, "y is NULL");
    *r = (rows){.name = "y", .type = y->type, .data = y->data, .rows = y->rows, .cols = y->cols, .stride = y->row_stride, .batch = y->batch,
                .batch_stride = y->batch_stride};
    return check_rows(r, y->bytes, true, err);
}

/* Weights with their defaults filled in. */
static kq_status check_weights(kq_weights *out, const kq_weights *w, kq_error *err) {
    if (!w) return kq_fail(err, KQ_E_ARGUMENT, "w is NULL");
    *out = *w;
    uint64_t row, span, matrix, last;
    KQ_TRY(kq_row_bytes(w->codec, w->cols, &row, err));
    if (!kq_codec_decoder(w->codec)) return kq_fail(err, KQ_E_ARGUMENT, "w: %s is plain data, it has no products", kq_codec_describe(w->codec)->name);
    if (!out->row_bytes) out->row_bytes = row;
    if (!out->matrices) out->matrices = 1;
    bool fits = kq_mul(w->rows, out->row_bytes, &matrix);
    if (!out->matrix_bytes) out->matrix_bytes = matrix;
    uint64_t all;
    fits = fits && kq_mul(w->rows, out->matrices, &all) && kq_mul(all, KQ_MAX(w->cols, 1), &all);
    if (!fits) return kq_fail(err, KQ_E_ARGUMENT, "w: its dimensions overflow");
    if (!w->rows || !w->cols) return KQ_OK;
    if (!w->data) return kq_fail(err, KQ_E_ARGUMENT, "w: data is NULL");
    fits = kq_mul(out->matrices - 1, out->matrix_bytes, &last) && kq_mul(w->rows - 1, out->row_bytes, &span) && kq_add(last, span, &last) &&
           kq_add(last, row, &last);
    if (!fits || last > w->bytes) {
        return kq_fail(err, KQ_E_ARGUMENT, "w: %zu bytes hold no %llu x %llu x %llu weights in %s with strides of %llu and %llu", w->bytes,
                       (unsigned long long)out->matrices, (unsigned long long)w->rows, (unsigned long long)w->cols,
                       kq_codec_describe(w->codec)->name, (unsigned long long)out->matrix_bytes, (unsigned long long)out->row_bytes);
    }
    return KQ_OK;
}

static kq_status check_equal(const char *what, uint64_t a, uint64_t b, kq_error *err) {
    if (a == b) return KQ_OK;
    return kq_fail(err, KQ_E_ARGUMENT, "%s: %llu and %llu", what, (unsigned long long)a, (unsigned long long)b);
}

/* ---- to floats and back -------------------------------------------------------------------------------------------- */

/* Row i of the batch, counted through. */
static uint8_t *row_of(const rows *r, uint64_t i) {
    return r->data + (i / r->rows * r->batch_stride + i % r->rows * r->stride) * r->size;
}

typedef struct copy {
    const rows *r;
    float *dense;        /* [.., cols] */
    const uint64_t *map; /* row of r (widening) or of dense (narrowing) that row i takes; NULL: i */
    kq_decode_fn *decode;
} copy;

static void widen_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const copy *c = ctx;
    (void)worker;
    for (uint64_t i = first; i < end; i++) {
        const uint8_t *from = row_of(c->r, c->map ? c->map[i] : i);
        c->decode(from, c->r->cols, c->dense + i * c->r->cols);
    }
}

/* x, or the rows of it that map names, as floats [n, cols] at dense. */
static void widen(const kq_device *device, const rows *x, uint64_t n, const uint64_t *map, float *dense) {
    copy c = {x, dense, map, device->table.decode[x->type]};
    if (x->cols) kq_op_run_rows(device->pool, n, x->cols, widen_rows, &c);
}

static void narrow(uint32_t type, const float *from, uint64_t n, uint8_t *to) {
    if (type == KQ_F32) {
        memcpy(to, from, n * sizeof *from);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint16_t half = type == KQ_F16 ? kq_f32_to_f16(from[i]) : kq_f32_to_bf16(from[i]);
        memcpy(to + 2 * i, &half, 2);
    }
}

static void narrow_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const copy *c = ctx;
    (void)worker;
    for (uint64_t i = first; i < end; i++) {
        narrow(c->r->type, c->dense + (c->map ? c->map[i] : i) * c->r->cols, c->r->cols, row_of(c->r, i));
    }
}

static void give(const kq_device *device, const rows *y, uint64_t n, const uint64_t *map, float *dense) {
    copy c = {y, dense, map, NULL};
    kq_op_run_rows(device->pool, n, y->cols, narrow_rows, &c);
}

/* What the operations of a batch share: both sides as floats with one pitch, beside `extra` bytes of scratch for the driver. */
typedef struct sides {
    rows x, y;
    kq_weights w;
    uint64_t m; /* rows of the whole batch */
    const float *from;
    float *to;
    uint64_t ldx, ldy;
    void *extra;
} sides;

static kq_status sides_open(kq_device *device, sides *s, uint64_t extra, bool fits, kq_error *err) {
    uint64_t bytes = 0;
    s->m = s->x.batch * s->x.rows;
    fits = fits && kq_op_take(&bytes, s->x.plain ? 0 : s->m * s->x.cols, sizeof(float)) &&
           kq_op_take(&bytes, s->y.plain ? 0 : s->m * s->y.cols, sizeof(float)) && kq_op_take(&bytes, extra, 1);
    KQ_TRY(reserve(device, bytes, fits, err));
    uint8_t *at = device->scratch;
    s->from = (const float *)(const void *)s->x.data;
    s->to = (float *)(void *)s->y.data;
    s->ldx = s->x.stride;
    s->ldy = s->y.stride;
    if (!s->x.plain) {
        float *dense = kq_op_carve(&at, s->m * s->x.cols, sizeof(float));
        widen(device, &s->x, s->m, NULL, dense);
        s->from = dense;
        s->ldx = s->x.cols;
    }
    if (!s->y.plain) {
        s->to = kq_op_carve(&at, s->m * s->y.cols, sizeof(float));
        s->ldy = s->y.cols;
    }
    s->extra = at;
    return KQ_OK;
}

static void sides_close(const kq_device *device, const sides *s) {
    if (!s->y.plain) give(device, &s->y, s->m, NULL, s->to);
}

static kq_status check_batch(const sides *s, kq_error *err) {
    KQ_TRY(check_equal("rows of x and of y differ", s->x.rows, s->y.rows, err));
    KQ_TRY(check_equal("batches of x and of y differ", s->x.batch, s->y.batch, err));
    if (s->w.matrices != 1) KQ_TRY(check_equal("matrices of w and the batch of x differ", s->w.matrices, s->x.batch, err));
    return KQ_OK;
}

/* ---- y = x w^T ----------------------------------------------------------------------------------------------------- */

kq_status kq_matmul(kq_device *device, const kq_activations *x, const kq_weights *w, const float *bias, const kq_results *y, kq_error *err) {
    if (!device) return kq_fail(err, KQ_E_ARGUMENT, "device is NULL");
    sides s;
    KQ_TRY(check_activations(&s.x, x, err));
    KQ_TRY(check_weights(&s.w, w, err));
    KQ_TRY(check_results(&s.y, y, err));
    KQ_TRY(check_equal("columns of x and of w differ", s.x.cols, s.w.cols, err));
    KQ_TRY(check_equal("columns of y and rows of w differ", s.y.cols, s.w.rows, err));
    KQ_TRY(check_batch(&s, err));
    if (!s.x.rows || !s.y.cols) return KQ_OK;
    uint64_t n = s.w.matrices == 1 ? 1 : s.x.batch, m = s.x.batch * s.x.rows / n, extra;
    bool fits = kq_matmul_scratch(m, s.w.cols, kq_pool_threads(device->pool), &extra);
    KQ_TRY(sides_open(device, &s, extra, fits, err));
    for (uint64_t i = 0; i < n && s.w.cols; i++) {
        kq_matmul_args args = {
            .codec = s.w.codec, .w = (const uint8_t *)s.w.data + i * (n > 1 ? s.w.matrix_bytes : 0), .n_rows = s.w.rows, .n_cols = s.w.cols,
            .row_bytes = s.w.row_bytes, .x = s.from + i * m * s.ldx, .m = m, .ldx = s.ldx, .bias = bias, .y = s.to + i * m * s.ldy,
            .ldy = s.ldy, .exact = device->exact,
        };
        kq_matmul_run(&device->table, device->pool, &args, s.extra);
    }
    for (uint64_t j = 0; j < s.m && !s.w.cols; j++) {
        for (uint64_t r = 0; r < s.w.rows; r++) s.to[j * s.ldy + r] = bias ? bias[r] : 0;
    }
    sides_close(device, &s);
    return KQ_OK;
}

kq_status kq_matmul_describe(const kq_device *device, uint32_t codec, uint64_t m, kq_product *out, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "out is NULL");
    *out = (kq_product){KQ_REGIME_ROWS, KQ_F32};
    if (!device) return kq_fail(err, KQ_E_ARGUMENT, "device is NULL");
    if (!kq_codec_decoder(codec)) return kq_fail(err, KQ_E_ARGUMENT, "codec %u is none that decodes", codec);
    *out = kq_matmul_product(&device->table, codec, m, device->exact);
    return KQ_OK;
}

/* ---- y = x w ------------------------------------------------------------------------------------------------------- */

typedef struct transposed {
    const kq_device *device;
    const sides *s;
    uint64_t m, n_panels; /* activation rows and column panels of one matrix */
} transposed;

/* One panel of columns of one matrix: its rows are decoded 32 at a time, and each is added, times its activation, to every row of y. */
static void transposed_task(void *ctx, size_t i, size_t worker) {
    const transposed *t = ctx;
    const sides *s = t->s;
    (void)worker;
    _Alignas(64) float panel[PANEL_ROWS][PANEL_COLS];
    const kq_codec_info *info = kq_codec_describe(s->w.codec);
    uint64_t matrix = i / t->n_panels, col = i % t->n_panels * PANEL_COLS, cols = KQ_MIN(s->w.cols - col, PANEL_COLS);
    float *y = s->to + matrix * t->m * s->ldy + col;
    for (uint64_t j = 0; j < t->m; j++) memset(y + j * s->ldy, 0, cols * sizeof *y);
    for (uint64_t row = 0; row < s->w.rows; row += PANEL_ROWS) {
        uint64_t n = KQ_MIN(s->w.rows - row, PANEL_ROWS);
        const uint8_t *w = (const uint8_t *)s->w.data + matrix * s->w.matrix_bytes + col / info->block_weights * info->block_bytes;
        const float *x = s->from + matrix * t->m * s->ldx;
        for (uint64_t r = 0; r < n; r++) {
            t->device->table.decode[s->w.codec](w + (row + r) * s->w.row_bytes, cols / info->block_weights, panel[r]);
        }
        t->device->table.blend[KQ_F32](x + row, s->ldx, t->m, panel, sizeof panel[0], n, cols, y, s->ldy);
    }
}

kq_status kq_matmul_t(kq_device *device, const kq_activations *x, const kq_weights *w, const kq_results *y, kq_error *err) {
    if (!device) return kq_fail(err, KQ_E_ARGUMENT, "device is NULL");
    sides s;
    KQ_TRY(check_activations(&s.x, x, err));
    KQ_TRY(check_weights(&s.w, w, err));
    KQ_TRY(check_results(&s.y, y, err));
    KQ_TRY(check_equal("columns of x and rows of w differ", s.x.cols, s.w.rows, err));
    KQ_TRY(check_equal("columns of y and of w differ", s.y.cols, s.w.cols, err));
    KQ_TRY(check_batch(&s, err));
    if (!s.x.rows || !s.y.cols) return KQ_OK;
    KQ_TRY(sides_open(device, &s, 0, true, err));
    uint64_t n = s.w.matrices == 1 ? 1 : s.x.batch;
    transposed t = {device, &s, s.m / n, s.w.cols / PANEL_COLS + (s.w.cols % PANEL_COLS != 0)};
    kq_pool_run(device->pool, n * t.n_panels, transposed_task, &t);
    sides_close(device, &s);
    return KQ_OK;
}

/* ---- experts ------------------------------------------------------------------------------------------------------- */

static kq_status check_indices(const char *name, const int32_t *index, size_t n, uint64_t limit, kq_error *err) {
    for (size_t i = 0; index && i < n; i++) {
        if (index[i] < 0 || (uint64_t)index[i] >= limit) {
            return kq_fail(err, KQ_E_ARGUMENT, "%s[%zu] is %d, not in [0, %llu)", name, i, index[i], (unsigned long long)limit);
        }
    }
    return KQ_OK;
}

/* Pairs without their repetitions, in the order of their first appearance. */
typedef struct pairs {
    uint64_t n;
    uint64_t *unique; /* of each given pair: its number among those without repetitions */
    uint64_t *left;   /* of each of those: the row of x */
    int32_t *right;   /* and the matrix */
} pairs;

/* chain[l]: the newest unique pair with the left row l, plus one; next[u]: the one before u. A row of x rarely meets more than a few
 * matrices, so walking its chain is short; the worst case, every matrix with every row, is bounded by the number of matrices. */
static void find_pairs(pairs *p, const int32_t *left, const int32_t *right, size_t n_pairs, uint64_t per_row, uint64_t *chain, uint64_t n_left,
                       uint64_t *next) {
    memset(chain, 0, n_left * sizeof *chain);
    for (size_t i = 0; i < n_pairs; i++) {
        uint64_t l = left ? (uint64_t)left[i] : i / per_row;
        int32_t r = right ? right[i] : (int32_t)i;
        uint64_t u = right ? chain[l] : 0; /* without right every pair is another */
        while (u && p->right[u - 1] != r) u = next[u - 1];
        if (!u) {
            p->left[p->n] = l;
            p->right[p->n] = r;
            next[p->n] = chain[l];
            chain[l] = u = ++p->n;
        }
        p->unique[i] = u - 1;
    }
}

static kq_status check_gather(rows *x, kq_weights *w, rows *y, const int32_t *left, const int32_t *right, size_t n_pairs, kq_error *err) {
    KQ_TRY(check_equal("columns of x and of w differ", x->cols, w->cols, err));
    KQ_TRY(check_equal("columns of y and rows of w differ", y->cols, w->rows, err));
    KQ_TRY(check_equal("rows of y and n_pairs differ", y->rows, n_pairs, err));
    if (x->batch != 1 || y->batch != 1) return kq_fail(err, KQ_E_ARGUMENT, "kq_matmul_gather takes no batch");
    if (n_pairs > INT32_MAX || w->matrices > INT32_MAX || x->rows > INT32_MAX) {
        return kq_fail(err, KQ_E_ARGUMENT, "more than 2^31 - 1 pairs, matrices or rows");
    }
    if (!left && (x->rows ? n_pairs % x->rows : n_pairs)) {
        return kq_fail(err, KQ_E_ARGUMENT, "left is NULL, and %zu pairs are no multiple of the %llu rows of x", n_pairs, (unsigned long long)x->rows);
    }
    if (!right) KQ_TRY(check_equal("right is NULL, and n_pairs and the matrices of w differ", n_pairs, w->matrices, err));
    KQ_TRY(check_indices("left", left, n_pairs, x->rows, err));
    return check_indices("right", right, n_pairs, w->matrices, err);
}

kq_status kq_matmul_gather(kq_device *device, const kq_activations *x, const kq_weights *w, const int32_t *left, const int32_t *right, size_t n_pairs,
                           const kq_results *y, kq_error *err) {
    if (!device) return kq_fail(err, KQ_E_ARGUMENT, "device is NULL");
    rows in, out;
    kq_weights weights;
    KQ_TRY(check_activations(&in, x, err));
    KQ_TRY(check_weights(&weights, w, err));
    KQ_TRY(check_results(&out, y, err));
    KQ_TRY(check_gather(&in, &weights, &out, left, right, n_pairs, err));
    if (!n_pairs || !out.cols) return KQ_OK;
    if (!in.cols) { /* zeros, whatever the type */
        for (uint64_t i = 0; i < n_pairs; i++) memset(row_of(&out, i), 0, out.cols * out.size);
        return KQ_OK;
    }
    uint64_t bytes = 0, extra, taken;
    bool fits = kq_mul(n_pairs, in.cols, &taken) && kq_gather_scratch(weights.matrices, n_pairs, 1, 1, in.cols, kq_pool_threads(device->pool), &extra) &&
                kq_op_take(&bytes, n_pairs, 3 * sizeof(uint64_t) + sizeof(int32_t)) && kq_op_take(&bytes, in.rows, sizeof(uint64_t)) &&
                kq_op_take(&bytes, taken, sizeof(float)) && kq_op_take(&bytes, n_pairs * out.cols, sizeof(float)) &&
                kq_op_take(&bytes, extra, 1);
    KQ_TRY(reserve(device, bytes, fits, err));
    uint8_t *at = device->scratch;
    uint64_t *words = kq_op_carve(&at, n_pairs, 3 * sizeof(uint64_t) + sizeof(int32_t)), *chain = kq_op_carve(&at, in.rows, sizeof(uint64_t));
    pairs p = {0, words, words + n_pairs, (int32_t *)(void *)(words + 3 * n_pairs)};
    find_pairs(&p, left, right, n_pairs, left ? 1 : n_pairs / in.rows, chain, in.rows, words + 2 * n_pairs);
    float *from = kq_op_carve(&at, n_pairs * in.cols, sizeof(float)), *to = kq_op_carve(&at, n_pairs * out.cols, sizeof(float));
    widen(device, &in, p.n, p.left, from);
    kq_gather_args args = {.codec = weights.codec, .w = weights.data, .n_experts = weights.matrices, .n_rows = weights.rows,
                           .n_cols = weights.cols, .row_bytes = weights.row_bytes, .expert_bytes = weights.matrix_bytes, .x = from,
                           .n_tokens = p.n, .n_x = 1, .n_used = 1, .idx = p.right, .y = to, .exact = device->exact};
    kq_gather_run(&device->table, device->pool, &args, at);
    give(device, &out, n_pairs, p.unique, to);
    return KQ_OK;
}

/* ---- rows by index ------------------------------------------------------------------------------------------------- */

typedef struct embedding {
    const rows *y;
    const kq_weights *w;
    const int32_t *ids;
    kq_decode_fn *decode;
    kq_stream_fn *stream; /* for results larger than a core's caches; NULL for others */
} embedding;

static void embed_rows(const void *ctx, uint64_t first, uint64_t end, size_t worker) {
    const embedding *e = ctx;
    const kq_codec_info *info = kq_codec_describe(e->w->codec);
    (void)worker;
    for (uint64_t i = first; i < end; i++) {
        const uint8_t *row = (const uint8_t *)e->w->data + (uint64_t)e->ids[i] * e->w->row_bytes;
        uint8_t *to = row_of(e->y, i);
        if (e->y->type == KQ_F32) {
            uint64_t n_blocks = e->w->cols / info->block_weights;
            if (e->stream) e->stream(e->decode, row, n_blocks, info->block_bytes, info->block_weights, (float *)(void *)to, i + 1 == end);
            else e->decode(row, n_blocks, (float *)(void *)to);
            continue;
        }
        for (uint64_t col = 0; col < e->w->cols; col += PIECE) {
            _Alignas(64) float piece[PIECE];
            uint64_t n = KQ_MIN(e->w->cols - col, PIECE);
            e->decode(row + col / info->block_weights * info->block_bytes, n / info->block_weights, piece);
            narrow(e->y->type, piece, n, to + col * e->y->size);
        }
    }
}

kq_status kq_embed(kq_device *device, const kq_weights *w, const int32_t *ids, size_t n_ids, const kq_results *y, kq_error *err) {
    if (!device) return kq_fail(err, KQ_E_ARGUMENT, "device is NULL");
    rows out;
    kq_weights weights;
    KQ_TRY(check_weights(&weights, w, err));
    KQ_TRY(check_results(&out, y, err));
    KQ_TRY(check_equal("columns of y and of w differ", out.cols, weights.cols, err));
    KQ_TRY(check_equal("rows of y and n_ids differ", out.rows, n_ids, err));
    if (out.batch != 1 || weights.matrices != 1) return kq_fail(err, KQ_E_ARGUMENT, "kq_embed takes no batch and one matrix");
    if (n_ids && !ids) return kq_fail(err, KQ_E_ARGUMENT, "ids is NULL");
    KQ_TRY(check_indices("ids", ids, n_ids, weights.rows, err));
    embedding e = {&out, &weights, ids, device->table.decode[weights.codec], NULL};
    if (n_ids >= KQ_STREAM_FROM / KQ_MAX(weights.cols, 1)) e.stream = device->table.stream[KQ_F32];
    if (weights.cols) kq_op_run_rows(device->pool, n_ids, weights.cols, embed_rows, &e);
    return KQ_OK;
}
