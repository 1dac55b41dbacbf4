/* SPDX-License-Identifier: MIT */
/* Loops that do nothing but what bounds a kernel: read, store, multiply. They are the roofs of measure.h; each in src/cpu/x86/roof_VARIANT.c
 * or src/cpu/arm/. Rates are of registers by registers, or of the simplest loop over memory: what no kernel can beat. */
#ifndef KQ_CPU_ROOF_H
#define KQ_CPU_ROOF_H

#include "base/base.h"

/* Reads n bytes, a multiple of KQ_ROOF_STEP, at a 64-aligned address, with a prefetch `ahead` bytes ahead (0: none). The value is a
 * digest of the bytes, so that no compiler leaves the reading out. */
enum { KQ_ROOF_STEP = 256 };
typedef uint64_t kq_roof_read_fn(const uint8_t *p, size_t n, size_t ahead);
/* Stores zeros over them; `past`: past the caches. */
typedef void kq_roof_store_fn(uint8_t *p, size_t n, bool past);
/* Does 10^5 to 10^7 operations `rounds` times; how many one round has. Multiplications and additions count one each. */
typedef uint64_t kq_roof_multiply_fn(uint64_t rounds);

kq_roof_read_fn kq_roof_read_avx2, kq_roof_read_avx512;
kq_roof_store_fn kq_roof_store_avx2, kq_roof_store_avx512;
kq_roof_multiply_fn kq_roof_f32_avx2, kq_roof_f32_avx512, kq_roof_bf16_avx512bf16, kq_roof_bf16_amx;
kq_roof_multiply_fn kq_roof_int8_avx2, kq_roof_int8_avx512icl, kq_roof_f32_neon, kq_roof_bf16_bf16mm, kq_roof_int8_dotprod, kq_roof_int8_i8mm;

#endif
