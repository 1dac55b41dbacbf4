/* SPDX-License-Identifier: MIT */
/* The roof of ARM's matrix products of int8: 2 x 8 by 8 x 2, 32 products an instruction (cpu/roof.h). */
#define ROOF kq_roof_int8_i8mm
#define INSTRUCTION "smmla"
#define FORM "16b"
#define OPERATIONS 64
#include "cpu/arm/roof_tmpl.h"
