/* SPDX-License-Identifier: MIT */
/* base: the elementary functions of numeric.h against long double: one float in STEP of all there are, dense sweeps for double.
 * (KQ_NUMERIC_STEP=1 at compile time walks all 2^32, which takes minutes.) */
#include "base/numeric.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#ifndef KQ_NUMERIC_STEP
#define KQ_NUMERIC_STEP 2003 /* prime, so that all exponents and both signs meet all low bits */
#endif

/* The distance between the floats around x. */
static double ulp_of(double x) {
    double a = fabs(x);
    if (a < 0x1p-126) return 0x1p-149;
    int e;
    frexp(a, &e);
    return ldexp(1, e - 24);
}

static void exp_is_within_one_ulp(void **state) {
    (void)state;
    double worst = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += KQ_NUMERIC_STEP) {
        float x = kq_bits_to_f32((uint32_t)i), y = kq_expf(x);
        if (x != x) {
            assert_true(y != y);
            continue;
        }
        double wanted = exp((double)x);
        if (wanted >= 0x1.ffffffp+127) { /* rounds to infinity */
            assert_true(y == INFINITY || (y == 0x1.fffffep+127f && wanted < 0x1.000001p+128));
            continue;
        }
        worst = fmax(worst, fabs((double)y - wanted) / ulp_of(wanted));
        if (x < -104) assert_true(y == 0);
    }
    print_message("kq_expf: %.4f ulp\n", worst);
    assert_true(worst < 1);
    assert_true(kq_expf(0.0f) == 1.0f && kq_expf(-0.0f) == 1.0f);
    assert_true(kq_expf(INFINITY) == INFINITY && kq_expf(-INFINITY) == 0.0f);
}

static void silu_and_gelu_are_close(void **state) {
    (void)state;
    double worst_silu = 0, worst_gelu = 0;
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += KQ_NUMERIC_STEP) {
        float x = kq_bits_to_f32((uint32_t)i);
        if (x != x || x == -INFINITY) {
            assert_true(kq_silu(x) != kq_silu(x) && kq_gelu_tanh(x) != kq_gelu_tanh(x));
            continue;
        }
        double silu = (double)x / (1 + exp(-(double)x));
        double u2 = 2 * sqrt(2 / 3.14159265358979323846) * ((double)x + 0.044715 * (double)x * (double)x * (double)x);
        double gelu = (double)x / (1 + exp(-u2));
        if (x == INFINITY) {
            assert_true(kq_silu(x) == x && kq_gelu_tanh(x) == x);
            continue;
        }
        if (fabs(silu) > 0x1p-121) worst_silu = fmax(worst_silu, fabs((double)kq_silu(x) / silu - 1) * 0x1p24);
        else assert_true(fabs((double)kq_silu(x) - silu) <= 0x1p-121);
        if (fabs(gelu) > 0x1p-121) worst_gelu = fmax(worst_gelu, fabs((double)kq_gelu_tanh(x) / gelu - 1) * 0x1p24 / (4 + 6 * fabs(u2)));
        else assert_true(fabs((double)kq_gelu_tanh(x) - gelu) <= 0x1p-121);
    }
    print_message("kq_silu: %.3f * 2^-24; kq_gelu_tanh: %.3f of its bound\n", worst_silu, worst_gelu);
    assert_true(worst_silu < 4);
    assert_true(worst_gelu < 1);
}

static void double_exp_and_log(void **state) {
    (void)state;
    long double worst_exp = 0, worst_log = 0;
    for (int i = -1000000; i <= 1000000; i++) {
        double x = i * 0.000707 + i % 7 * 1e-9;
        long double wanted = expl((long double)x), off = fabsl((long double)kq_exp(x) - wanted) / wanted;
        if (x > -708) worst_exp = fmaxl(worst_exp, off * 0x1p53L);
        double y = ldexp(1 + (double)(i & 0xfffff) * 0x1p-20, i / 1000);
        wanted = logl((long double)y);
        worst_log = fmaxl(worst_log, fabsl((long double)kq_log(y) - wanted) / fmaxl(fabsl(wanted), 1) * 0x1p53L);
    }
    print_message("kq_exp: %.3Lf * 2^-53; kq_log: %.3Lf * 2^-53\n", worst_exp, worst_log);
    assert_true(worst_exp < 4);
    assert_true(worst_log < 4);
    assert_true(kq_exp(0) == 1 && kq_exp(710) == INFINITY && kq_exp(INFINITY) == INFINITY && kq_exp(-709) == 0 && kq_exp(-INFINITY) == 0);
    assert_true(kq_exp(NAN) != kq_exp(NAN));
    assert_true(kq_log(1) == 0);
}

static void cosine_and_sine(void **state) {
    (void)state;
    long double worst = 0;
    for (int i = -1000000; i <= 1000000; i++) {
        double x = i % 3 == 0 ? i * 8.388 : i % 3 == 1 ? i * 1.1e-5 : i * 0.78539816339744831, c, s;
        if (i % 5 == 0) x *= 255.9; /* up to 2^31, near 0, at the seams */
        kq_cos_sin(x, &c, &s);
        worst = fmaxl(worst, fmaxl(fabsl((long double)c - cosl((long double)x)), fabsl((long double)s - sinl((long double)x))));
    }
    print_message("kq_cos_sin: %.3Lf * 2^-53\n", worst * 0x1p53L);
    assert_true(worst < 0x1p-50L);
    double c, s;
    kq_cos_sin(0, &c, &s);
    assert_true(c == 1 && s == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_one_ulp),
        cmocka_unit_test(silu_and_gelu_are_close),
        cmocka_unit_test(double_exp_and_log),
        cmocka_unit_test(cosine_and_sine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
