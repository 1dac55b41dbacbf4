/* SPDX-License-Identifier: MIT */
/* The roof of ARM's matrix products of bf16: 2 x 4 by 4 x 2, 16 products an instruction (cpu/roof.h). */
#define ROOF kq_roof_bf16_bf16mm
#define INSTRUCTION "bfmmla"
#define FORM "8h"
#define OPERATIONS 32
#include "cpu/arm/roof_tmpl.h"
