/* SPDX-License-Identifier: MIT */
/* check: runs every row of kernels.def that this machine can run against its definition.
 *
 *     check [--mask=MASK] [--function=GLOB] [--seed=N] [--require=VARIANT,...] [--list]
 *     check --bench[=MEGABYTES] [--mask=MASK] [--function=GLOB]
 *     check --errors [--mask=MASK]
 *
 * MASK is none, avx2, avx512, avx512icl, avx512bf16, all, or a number. GLOB is matched with names as --list prints them. The exit status is
 * 0 when everything that ran is right, something ran, and every required variant was among it; 1 otherwise; 2 for a wrong
 * option. A kernel that dies of a signal is named, and the next one is run. */
#include "check.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

size_t n_cases;
static char current[256];
static size_t n_failures; /* of the current kernel */
static double worst, accuracy[2]; /* of the two accuracy cases */
static size_t n_accuracy;
static sigjmp_buf escape;
static volatile sig_atomic_t armed;

void case_name(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(current, sizeof current, format, args);
    va_end(args);
}

void case_failed(const char *format, ...) {
    if (n_failures++ >= 5) return; /* five lines tell enough */
    va_list args;
    va_start(args, format);
    printf("  FAILED %s: ", current);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void case_error(double share) { worst = KQ_MAX(worst, share); }
void case_accuracy(double per_cent) { accuracy[n_accuracy++ % 2] = per_cent; }

static void on_signal(int number) {
    if (!armed) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    siglongjmp(escape, number);
}

static void catch_signals(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    for (size_t i = 0; i < KQ_COUNT(numbers); i++) sigaction(numbers[i], &action, NULL);
}

static const char *signal_name(int number) {
    return number == SIGSEGV ? "SIGSEGV" : number == SIGBUS ? "SIGBUS" : number == SIGILL ? "SIGILL" : "SIGFPE";
}

static void run_guarded(const kq_kernel *k, bool bench) {
    int number = sigsetjmp(escape, 1);
    if (number) {
        armed = 0;
        case_failed("died of %s", signal_name(number));
        return;
    }
    armed = 1;
    if (bench) {
        bench_kernel(k);
    } else {
        check_kernel(k);
    }
    armed = 0;
}

typedef struct options {
    const char *glob;
    const char *require;
    uint32_t mask;
    uint64_t seed;
    size_t bench;
    bool list, errors;
} options;

static bool read_mask(const char *text, uint32_t *mask) {
    static const struct {
        const char *name;
        uint32_t mask;
    } names[] = {{"none", 0},
                 {"avx2", KQ_CPU_AVX2},
                 {"avx512", KQ_CPU_AVX2 | KQ_CPU_AVX512},
                 {"avx512icl", KQ_CPU_AVX2 | KQ_CPU_AVX512 | KQ_CPU_AVX512ICL},
                 {"avx512bf16", KQ_CPU_AVX2 | KQ_CPU_AVX512 | KQ_CPU_AVX512ICL | KQ_CPU_AVX512BF16},
                 {"all", KQ_CPU_ALL}};
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        if (strcmp(text, names[i].name)) continue;
        *mask = names[i].mask;
        return true;
    }
    char *end;
    *mask = (uint32_t)strtoul(text, &end, 0);
    return *text && !*end;
}

static bool read_options(options *o, int argc, char **argv) {
    *o = (options){.glob = "*", .require = "", .mask = KQ_CPU_ALL, .seed = (uint64_t)time(NULL)};
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        size_t n = value ? (size_t)(value - argv[i]) : strlen(argv[i]);
        value = value ? value + 1 : NULL;
#define IS(text) (n == strlen(text) && memcmp(argv[i], text, n) == 0)
        if (IS("--list") && !value) o->list = true;
        else if (IS("--errors") && !value) o->errors = true;
        else if (IS("--bench")) o->bench = value ? strtoul(value, NULL, 0) : 512;
        else if (IS("--function") && value) o->glob = value;
        else if (IS("--require") && value) o->require = value;
        else if (IS("--seed") && value) o->seed = strtoull(value, NULL, 0);
        else if (!(IS("--mask") && value && read_mask(value, &o->mask))) {
            fprintf(stderr, "check: cannot read '%s'; the head of tests/check/main.c lists the options\n", argv[i]);
            return false;
        }
#undef IS
    }
    return true;
}

/* Is there a kernel among ran[] for each variant of the list? */
static bool all_required(const char *list, const bool *ran) {
    bool all = true;
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        bool found = n == 0;
        for (size_t i = 0; i < kq_n_kernels; i++) found |= ran[i] && strlen(kq_kernels[i].variant) == n && !memcmp(kq_kernels[i].variant, at, n);
        if (!found) printf("FAILED: variant %.*s was required and did not run\n", (int)n, at);
        all &= found;
        at += n + (at[n] == ',');
    }
    return all;
}

int main(int argc, char **argv) {
    options o;
    if (!read_options(&o, argc, argv)) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint32_t features = kq_cpu_features() & o.mask;
    if (o.errors) return print_errors(features) ? 0 : 1;
    bool *ran = calloc(kq_n_kernels, sizeof *ran);
    if (!ran) return 1;
    size_t n_ran = 0, n_wrong = 0, n_skipped = 0;
    if (!o.list && !o.bench) printf("seed %llu\n", (unsigned long long)o.seed);
    if (o.bench) bench_start(o.bench, features);
    catch_signals();
    for (size_t i = 0; i < kq_n_kernels; i++) {
        const kq_kernel *k = &kq_kernels[i];
        if (fnmatch(o.glob, k->name, 0)) continue;
        if (o.list) {
            printf("%-32s %s%s\n", k->name, k->check == KQ_EXACTLY ? "exactly" : "bounded", (features & k->needs) == k->needs ? "" : " (not here)");
            continue;
        }
        if ((features & k->needs) != k->needs) {
            if (!o.bench) printf("%-32s skipped: needs %s\n", k->name, k->variant);
            n_skipped++;
            continue;
        }
        random_start(o.seed, k->name);
        n_failures = 0;
        worst = 0;
        n_accuracy = 0;
        size_t before = n_cases;
        run_guarded(k, o.bench > 0);
        ran[i] = true;
        n_ran++;
        n_wrong += n_failures > 0;
        if (o.bench) continue;
        printf("%-32s %s, %zu cases", k->name, n_failures ? "FAILED" : "ok", n_cases - before);
        if (worst > 0) printf(", worst error %.3f of the bound", worst);
        if (n_accuracy) printf(", int8 activations %.2f %% (outliers %.2f %%)", accuracy[0], accuracy[1]);
        printf("\n");
    }
    if (o.list) return free(ran), 0;
    if (!o.bench) printf("%zu kernels, %zu cases, %zu skipped, %zu wrong\n", n_ran, n_cases, n_skipped, n_wrong);
    if (!n_ran) printf("FAILED: nothing ran\n");
    bool good = n_ran && !n_wrong && all_required(o.require, ran);
    free(ran);
    return good ? 0 : 1;
}
