/* SPDX-License-Identifier: MIT */
#define VARIANT(name) kq_##name##_f32_avx512
#include "cpu/pointwise_tmpl.h"
