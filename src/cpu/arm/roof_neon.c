/* SPDX-License-Identifier: MIT */
/* The roof of NEON: fused products of four floats (cpu/roof.h). */
#define ROOF kq_roof_f32_neon
#define INSTRUCTION "fmla"
#define FORM "4s"
#define OPERATIONS 8
#include "cpu/arm/roof_tmpl.h"
