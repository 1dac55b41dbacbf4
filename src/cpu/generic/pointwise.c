/* SPDX-License-Identifier: MIT */
#define VARIANT(name) kq_##name##_f32_generic
#include "cpu/pointwise_tmpl.h"
