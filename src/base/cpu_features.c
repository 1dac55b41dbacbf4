/* SPDX-License-Identifier: MIT */
/* CPU features as tiers, and the number of processors. */
#define _GNU_SOURCE /* sched_getaffinity, syscall */
#include "base/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static uint64_t xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* AMX's registers are 8 KB of state, which Linux keeps for a process only when asked: ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA. */
static bool tiles_permitted(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

static bool has(uint32_t reg, uint32_t bits) { return (reg & bits) == bits; }

uint32_t kq_cpu_features(void) {
    uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    uint32_t c1 = c;
    if (!has(c1, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return 0;
    uint64_t os = xcr0();
    if ((os & 0x6) != 0x6) return 0; /* SSE and AVX state */
    uint32_t max_sub = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        max_sub = a;
        b7 = b;
        c7 = c;
        d7 = d;
    }
    if (max_sub >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) a71 = a;
    uint32_t features = 0;
    if (has(b7, bit_AVX2 | bit_BMI2)) features |= KQ_CPU_AVX2;
    /* opmask, upper halves of ZMM0-15, ZMM16-31 */
    if (features && (os & 0xe0) == 0xe0 && has(b7, bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)) {
        features |= KQ_CPU_AVX512;
        if (has(c7, bit_AVX512VNNI | bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512BITALG | bit_AVX512VPOPCNTDQ | bit_GFNI)) {
            features |= KQ_CPU_AVX512ICL;
            if (has(a71, 1u << 5)) {
                features |= KQ_CPU_AVX512BF16;
                /* AMX-BF16, AMX-TILE; the tiles' configuration and data */
                if (has(d7, 1u << 22 | 1u << 24) && (os & 0x60000) == 0x60000 && tiles_permitted()) features |= KQ_CPU_AMX;
            }
        }
    }
    return features;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

uint32_t kq_cpu_features(void) {
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint32_t features = KQ_CPU_NEON; /* part of the base architecture */
    if (cap & (1ul << 20)) features |= KQ_CPU_DOTPROD;  /* HWCAP_ASIMDDP */
    if (cap2 & (1ul << 13)) features |= KQ_CPU_I8MM;    /* HWCAP2_I8MM */
    if (cap2 & (1ul << 14)) features |= KQ_CPU_BF16MM;  /* HWCAP2_BF16 */
    return features;
}
#else
uint32_t kq_cpu_features(void) { return 0; }
#endif

uint32_t kq_cpu_usable(uint32_t mask) {
    static const struct { uint32_t feature, on; } builds[] = { /* upwards */
        {KQ_CPU_AVX512, KQ_CPU_AVX2}, {KQ_CPU_AVX512ICL, KQ_CPU_AVX512}, {KQ_CPU_AVX512BF16, KQ_CPU_AVX512ICL}, {KQ_CPU_AMX, KQ_CPU_AVX512BF16},
        {KQ_CPU_DOTPROD, KQ_CPU_NEON}, {KQ_CPU_I8MM, KQ_CPU_DOTPROD}, {KQ_CPU_BF16MM, KQ_CPU_NEON},
    };
    uint32_t usable = kq_cpu_features() & (mask ? mask : KQ_CPU_ALL);
    for (size_t i = 0; i < KQ_COUNT(builds); i++) {
        if (!(usable & builds[i].on)) usable &= ~builds[i].feature;
    }
    return usable;
}

const char *kq_cpu_feature_name(uint32_t feature) {
    switch (feature) {
    case KQ_CPU_AVX2: return "avx2";
    case KQ_CPU_AVX512: return "avx512";
    case KQ_CPU_AVX512ICL: return "avx512icl";
    case KQ_CPU_AVX512BF16: return "avx512bf16";
    case KQ_CPU_AMX: return "amx";
    case KQ_CPU_NEON: return "neon";
    case KQ_CPU_DOTPROD: return "dotprod";
    case KQ_CPU_I8MM: return "i8mm";
    case KQ_CPU_BF16MM: return "bf16mm";
    default: return NULL;
    }
}

/* The cgroup v2 quota of this process's root group, in whole processors rounded up; 0 when there is none. */
static int quota(void) {
    int fd = open("/sys/fs/cgroup/cpu.max", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char text[64] = {0};
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0 || text[0] == 'm') return 0; /* "max 100000" */
    char *end;
    long long allowed = strtoll(text, &end, 10), period = strtoll(end, NULL, 10);
    if (allowed <= 0 || period <= 0) return 0;
    long long cpus = (allowed + period - 1) / period;
    return cpus > 4096 ? 0 : (int)cpus;
}

int kq_cpu_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int q = quota();
    if (q > 0 && q < n) n = q;
    return n < 1 ? 1 : n;
}
