/* SPDX-License-Identifier: MIT */
#define WIDTH 8
#define LOAD(p) _mm256_loadu_ps(p)
#define PASS(p, v) _mm256_stream_ps(p, v)
#define STREAM kq_stream_f32_avx2
#include "cpu/x86/stream_tmpl.h"
