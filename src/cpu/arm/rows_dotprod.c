/* SPDX-License-Identifier: MIT */
/* NEON with the dot product of ARMv8.2. */
#include <arm_neon.h>

#define PRODUCTS(w, x) vdotq_s32(vdupq_n_s32(0), w, x)
#define VARIANT(op, id) kq_##op##_##id##_dotprod
#include "cpu/arm/rows_tmpl.h"
