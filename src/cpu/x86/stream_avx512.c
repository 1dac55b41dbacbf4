/* SPDX-License-Identifier: MIT */
#define WIDTH 16
#define LOAD(p) _mm512_loadu_ps(p)
#define PASS(p, v) _mm512_stream_ps(p, v)
#define STREAM kq_stream_f32_avx512
#include "cpu/x86/stream_tmpl.h"
