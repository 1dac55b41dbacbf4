/* SPDX-License-Identifier: MIT */
/* What every other header of kquant stands on: status and error, version, memory, threads, CPU features.
 *
 * Conventions of the whole library
 *   - Everything that can fail returns a kq_status and takes a kq_error pointer as its last argument; the pointer may be
 *     NULL. On failure results passed out through pointers are left NULL or 0 and nothing is leaked.
 *   - The library never exits, aborts, prints, or reads the environment.
 *   - Objects are opened and closed in pairs; closing NULL does nothing.
 *   - Options structures begin with their size, so that a program compiled against an older header keeps working:
 *     fill one with KQ_OPTIONS_INIT, then set fields; zero always means the documented default.
 *   - Functions that return a kq_status refuse NULL with KQ_E_ARGUMENT where it makes no sense. Accessors, which cannot fail, take
 *     an open object.
 *   - Every object says how threads may share it. Immutable ones (files, tokenizers, models, codecs) are shared freely; the others
 *     (sessions, samplers, detokenizers, writers, pools) belong to one thread at a time. Functions without an object may be called by
 *     any number of threads. */
#ifndef KQUANT_CORE_H
#define KQUANT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KQ_API __attribute__((visibility("default")))
#define KQ_MUST_CHECK __attribute__((warn_unused_result))
#else
#define KQ_API
#define KQ_MUST_CHECK
#endif

/* ---- version ------------------------------------------------------------------------------------------------------ */

#define KQ_VERSION_MAJOR 0
#define KQ_VERSION_MINOR 1
#define KQ_VERSION_PATCH 0
#define KQ_VERSION "0.1.0"

/* The version of the library that is running, "major.minor.patch". */
KQ_API const char *kq_version(void);

/* ---- status and error --------------------------------------------------------------------------------------------- */

/* Stable values, with gaps by topic. 40 to 49 mean: the data from outside is at fault, not the caller and not the machine. */
typedef enum kq_status {
    KQ_OK = 0,
    KQ_E_ARGUMENT = 10,  /* the caller passed something impossible: NULL, out of range, sizes that disagree */
    KQ_E_CONTEXT = 11,   /* the session's context is full */
    KQ_E_CANCELLED = 12, /* a callback asked to stop */
    KQ_E_MEMORY = 20,    /* an allocation failed; every handle is still usable */
    KQ_E_SYSTEM = 21,    /* the operating system refused (threads, mappings); the text has its reason */
    KQ_E_IO = 30,        /* opening, reading or writing a file failed; the text has the reason */
    KQ_E_FORMAT = 40,    /* a file is malformed: truncated, contradictory, out of bounds */
    KQ_E_LIMIT = 41,     /* a file is well-formed but beyond a documented limit */
    KQ_E_MODEL = 42,     /* a file is well-formed, but a key or tensor that the model needs is missing or does not fit */
    KQ_E_UNSUPPORTED = 43, /* a file asks for something this version does not know: architecture, codec, tokenizer */
    KQ_E_PROGRAM = 44    /* a program (a model's list of steps) does not pass verification */
} kq_status;

#define KQ_NO_OFFSET UINT64_MAX

/* What went wrong. All strings are zero-terminated; bytes that do not print are shown as \xHH.
 * Filled only on failure; a successful call leaves it alone. */
typedef struct kq_error {
    kq_status status;
    uint64_t offset; /* byte in the file, or KQ_NO_OFFSET */
    char file[256];  /* the file's path (its end, if longer), or "" */
    char text[160];  /* one line that names the tensor, key or argument, its value and the limit */
} kq_error;

/* The name of a status, e.g. "bad format"; never NULL. */
KQ_API const char *kq_status_name(kq_status status);

/* ---- numeric modes ------------------------------------------------------------------------------------------------ */

/* Of products with weights.
 * KQ_FAST: in matrix products, small batches (up to 16 or 24 rows, as the codec's kernels have it) may round activations to 8 bits per 32,
 * and larger ones weights and activations to bf16; the summation order may depend on the kernel. A row's result does not depend on its
 * neighbours in small batches, nor in larger ones, but the two differ (for a token of a mixture of experts, by how many tokens of its batch chose the same expert).
 * KQ_EXACT: float activations and one summation order: results are bit-identical for every batch size, thread count and
 * CPU variant. Neither depends on the number of threads. */
typedef enum kq_mode { KQ_FAST = 0, KQ_EXACT = 1 } kq_mode;

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* Where an object takes its memory. Both functions may be called by any thread that uses the object. NULL in an options
 * structure means the C library's. The structure is copied; ctx must outlive the object. */
typedef struct kq_allocator {
    /* size > 0 bytes at a multiple of alignment (a power of two, at most 4096), or NULL */
    void *(*alloc)(void *ctx, size_t alignment, size_t size);
    void (*free)(void *ctx, void *memory); /* memory came from alloc and is not NULL */
    void *ctx;
} kq_allocator;

/* A zeroed options structure with its size set: kq_model_options o = KQ_OPTIONS_INIT(kq_model_options); */
#ifdef __cplusplus
#define KQ_OPTIONS_INIT(type) (type{sizeof(type)})
#else
#define KQ_OPTIONS_INIT(type) ((type){.struct_size = sizeof(type)})
#endif

/* ---- threads ------------------------------------------------------------------------------------------------------ */

/* A set of threads that the caller makes and lends to operations and sessions. Work is cut into fixed tiles, so no result
 * depends on the number of threads. One operation at a time uses a pool: a pool must not be lent to two sessions that
 * run at the same moment. Where a pool is optional, NULL means the calling thread alone. */
typedef struct kq_pool kq_pool;

/* threads: 1 to 512, the caller's own thread included; 0 = as many as the processors this process may use.
 * KQ_E_ARGUMENT, KQ_E_MEMORY, KQ_E_SYSTEM. */
KQ_API KQ_MUST_CHECK kq_status kq_pool_open(kq_pool **out, int threads, const kq_allocator *allocator, kq_error *err);
KQ_API void kq_pool_close(kq_pool *pool); /* not while an operation uses it */
KQ_API int kq_pool_threads(const kq_pool *pool); /* 1 for NULL */
/* How many processors this process may use (affinity and cgroup quota considered), at least 1. */
KQ_API int kq_cpu_count(void);

/* ---- CPU features ------------------------------------------------------------------------------------------------- */

/* Tiers that exist as machines, not single CPUID bits. Each includes the operating system's consent (XCR0). In a mask of what may be used a
 * tier counts only with those below it: AMX, AVX512BF16, AVX512ICL, AVX512, AVX2; I8MM, DOTPROD, NEON; BF16MM, NEON. */
enum {
    KQ_CPU_AVX2 = 1 << 0,       /* AVX2, FMA, F16C, BMI2 */
    KQ_CPU_AVX512 = 1 << 1,     /* AVX-512 F, CD, BW, DQ, VL */
    KQ_CPU_AVX512ICL = 1 << 2,  /* the above with VNNI, VBMI, VBMI2, BITALG, VPOPCNTDQ and GFNI */
    KQ_CPU_AVX512BF16 = 1 << 3, /* AVX512ICL with BF16 */
    KQ_CPU_AMX = 1 << 4,        /* AVX512BF16 with AMX's tiles of bf16, which Linux gives to a process that asks (kq_cpu_features does) */
    KQ_CPU_NEON = 1 << 8,
    KQ_CPU_DOTPROD = 1 << 9,    /* dot products of int8 */
    KQ_CPU_I8MM = 1 << 10,      /* matrix products of int8 */
    KQ_CPU_BF16MM = 1 << 11     /* matrix products of bf16 */
};
#define KQ_CPU_ALL UINT32_MAX
#define KQ_CPU_NONE (UINT32_C(1) << 31) /* no feature: as a mask, where 0 means all, what is left is plain C */

/* The features of this machine, as a mask of the values above. */
KQ_API uint32_t kq_cpu_features(void);
/* The name of one feature ("avx2"), or NULL for anything but a single known bit. */
KQ_API const char *kq_cpu_feature_name(uint32_t feature);

#ifdef __cplusplus
}
#endif
#endif
