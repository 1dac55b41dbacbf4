/* SPDX-License-Identifier: MIT */
#define VARIANT(name) kq_##name##_f32_avx2
#include "cpu/pointwise_tmpl.h"
