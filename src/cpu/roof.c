/* SPDX-License-Identifier: MIT */
/* Roofs: the widest loops that this machine has, on all threads of a pool at once. */
#include "cpu/roof.h"

#include <kquant/measure.h>

/* Plain C: vectors of 16 bytes, which every machine has. */
typedef uint64_t words __attribute__((vector_size(16)));
typedef float floats __attribute__((vector_size(16)));

static uint64_t read_generic(const uint8_t *p, size_t n, size_t ahead) {
    words a = {0}, b = a, c = a, d = a;
    for (size_t i = 0; i < n; i += KQ_ROOF_STEP) {
        if (ahead) {
            for (size_t k = 0; k < KQ_ROOF_STEP; k += 64) __builtin_prefetch(p + i + k + ahead);
        }
        for (size_t k = 0; k < KQ_ROOF_STEP; k += 64) {
            const words *w = (const words *)(const void *)(p + i + k);
            a ^= w[0], b ^= w[1], c ^= w[2], d ^= w[3];
        }
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1];
}

static void store_generic(uint8_t *p, size_t n, bool past) {
    (void)past;
    for (size_t i = 0; i < n; i += 16) *(volatile words *)(void *)(p + i) = (words){0};
}

/* Product and sum in two instructions: what a compiler may make of plain C. */
static uint64_t f32_generic(uint64_t rounds) {
    static const volatile float zero = 0;
    floats x = {zero, zero, zero, zero}, sums[8] = {{0}};
    for (uint64_t i = 0; i < rounds << 10; i++) {
        for (int k = 0; k < 8; k++) sums[k] = sums[k] * x + x;
    }
    volatile float sink = 0;
    for (int k = 0; k < 8; k++) sink = sink + sums[k][0];
    return (uint64_t)8 * 8 << 10;
}

/* The last row whose needs are met counts. */
typedef struct row {
    kq_roof roof;
    uint32_t needs;
    kq_roof_read_fn *read;
    kq_roof_store_fn *store;
    kq_roof_multiply_fn *multiply;
} row;
static const row rows[] = {
    {KQ_ROOF_READ, 0, .read = read_generic},
    {KQ_ROOF_STORE, 0, .store = store_generic},
    {KQ_ROOF_F32, 0, .multiply = f32_generic},
#if defined(__x86_64__)
    {KQ_ROOF_READ, KQ_CPU_AVX2, .read = kq_roof_read_avx2},
    {KQ_ROOF_READ, KQ_CPU_AVX512, .read = kq_roof_read_avx512},
    {KQ_ROOF_STORE, KQ_CPU_AVX2, .store = kq_roof_store_avx2},
    {KQ_ROOF_STORE, KQ_CPU_AVX512, .store = kq_roof_store_avx512},
    {KQ_ROOF_F32, KQ_CPU_AVX2, .multiply = kq_roof_f32_avx2},
    {KQ_ROOF_F32, KQ_CPU_AVX512, .multiply = kq_roof_f32_avx512},
    {KQ_ROOF_BF16, KQ_CPU_AVX512BF16, .multiply = kq_roof_bf16_avx512bf16},
    {KQ_ROOF_BF16, KQ_CPU_AMX, .multiply = kq_roof_bf16_amx},
    {KQ_ROOF_INT8, KQ_CPU_AVX2, .multiply = kq_roof_int8_avx2},
    {KQ_ROOF_INT8, KQ_CPU_AVX512ICL, .multiply = kq_roof_int8_avx512icl},
#elif defined(__aarch64__)
    {KQ_ROOF_F32, KQ_CPU_NEON, .multiply = kq_roof_f32_neon},
    {KQ_ROOF_BF16, KQ_CPU_BF16MM, .multiply = kq_roof_bf16_bf16mm},
    {KQ_ROOF_INT8, KQ_CPU_DOTPROD, .multiply = kq_roof_int8_dotprod},
    {KQ_ROOF_INT8, KQ_CPU_I8MM, .multiply = kq_roof_int8_i8mm},
#endif
};

static const size_t aheads[] = {0, 512, 1024, 8192};

typedef struct pass {
    const row *row;
    uint32_t way;
    uint8_t *memory;
    size_t share; /* bytes of a thread */
    uint64_t rounds;
    uint64_t work[512], digests[512]; /* of each thread */
} pass;

/* A thread keeps to its own part of the memory, so that a part that fits its cache stays there. */
static void run_share(void *ctx, size_t i, size_t worker) {
    pass *p = ctx;
    uint8_t *part = p->memory + worker * p->share;
    uint64_t digest = 0, work = p->share * p->rounds;
    if (p->row->multiply) work = p->row->multiply(p->rounds) * p->rounds;
    for (uint64_t round = 0; round < p->rounds && !p->row->multiply; round++) {
        if (p->row->read) digest ^= p->row->read(part, p->share, aheads[p->way]);
        else p->row->store(part, p->share, p->way == 1);
    }
    p->work[i] = work;
    p->digests[worker] = digest;
}

static uint32_t n_ways(const row *r) {
    return r->read ? (uint32_t)KQ_COUNT(aheads) : r->store && r->store != store_generic ? 2 : 1;
}

kq_status kq_roof_pass(kq_roof roof, uint32_t way, const kq_roof_options *options, uint64_t *work, kq_error *err) {
    kq_roof_options o;
    if (!work) return kq_fail(err, KQ_E_ARGUMENT, "work is NULL");
    *work = 0;
    kq_options_read(&o, sizeof o, options);
    if ((unsigned)roof > KQ_ROOF_INT8) return kq_fail(err, KQ_E_ARGUMENT, "roof %u is none", (unsigned)roof);
    uint32_t features = kq_cpu_usable(o.cpu_mask);
    size_t threads = (size_t)kq_pool_threads(o.pool);
    pass p = {.way = way, .memory = o.memory, .rounds = o.rounds ? o.rounds : 1};
    for (size_t i = 0; i < KQ_COUNT(rows); i++) {
        if (rows[i].roof == roof && (features & rows[i].needs) == rows[i].needs) p.row = &rows[i];
    }
    if (!p.row || way >= n_ways(p.row)) return KQ_OK;
    if (!p.row->multiply) {
        p.share = o.bytes / threads / KQ_ROOF_STEP * KQ_ROOF_STEP;
        if (!o.memory || (uintptr_t)o.memory % 64 || !p.share) {
            return kq_fail(err, KQ_E_ARGUMENT, "memory at %p of %zu bytes: it must begin at a multiple of 64 and have %d for each of %zu threads", o.memory,
                           o.bytes, KQ_ROOF_STEP, threads);
        }
    }
    kq_pool_run(o.pool, threads, run_share, &p);
    for (size_t i = 0; i < threads; i++) *work += p.work[i];
    return KQ_OK;
}
