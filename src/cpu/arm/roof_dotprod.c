/* SPDX-License-Identifier: MIT */
/* The roof of ARM's dot products: 16 products of int8 an instruction (cpu/roof.h). */
#define ROOF kq_roof_int8_dotprod
#define INSTRUCTION "sdot"
#define FORM "16b"
#define OPERATIONS 32
#include "cpu/arm/roof_tmpl.h"
