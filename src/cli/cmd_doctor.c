/* SPDX-License-Identifier: MIT */
/* kquant doctor: what runs here, and whether it does. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

typedef struct values {
    cli_values common;
    bool json;
} values;

static const cli_option options[] = {
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON"},
};

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* ---- findings --------------------------------------------------------------------------------------------------------------- */

typedef struct kernels {
    kq_kernel_row *rows;
    size_t n, capacity;
} kernels;

static void add_kernel(void *ctx, const kq_kernel_row *row) {
    kernels *k = ctx;
    if (k->n == k->capacity) k->rows = cli_grow(k->rows, k->capacity = k->capacity ? k->capacity * 2 : 64, sizeof *k->rows);
    k->rows[k->n++] = *row; /* the names are the library's own constants */
}

typedef struct trial {
    const char *path; /* NULL: no default model */
    bool works;
    double seconds;   /* from opening to the logits */
    char text[512];   /* what went wrong */
} trial;

/* Opens the default model and evaluates one token. */
static void try_default(trial *t) {
    *t = (trial){.path = cli_default_model()};
    if (!t->path) return;
    double start = cli_seconds();
    kq_error e = {.text = ""};
    kq_model *m = NULL;
    kq_session *s = NULL;
    float *logits = NULL;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    o.n_ctx = 16;
    cli_signals_file(t->path);
    kq_status status = kq_model_open(&m, t->path, NULL, &e);
    if (!status) status = kq_session_open(&s, m, &o, &e);
    if (!status) {
        int32_t token = 0;
        logits = cli_alloc((size_t)kq_model_describe(m).n_vocab, sizeof *logits);
        status = kq_session_append(s, &token, 1, logits, 1, &e);
    }
    t->seconds = cli_seconds() - start;
    t->works = !status;
    if (status) snprintf(t->text, sizeof t->text, "%s", e.text);
    free(logits);
    kq_session_close(s);
    kq_model_close(m);
}

static const char *system_text(char *text, size_t size) {
    struct utsname u;
    if (uname(&u)) return "unknown";
    snprintf(text, size, "%s %s %s", u.sysname, u.release, u.machine);
    return text;
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------------------- */

static void print_json(const kernels *k, const trial *t) {
    char text[512];
    cli_json j = {.out = stdout};
    cli_json_object(&j, NULL);
    cli_json_string(&j, "version", KQ_VERSION);
    cli_json_string(&j, "library", kq_version());
    cli_json_string(&j, "compiler", COMPILER);
    cli_json_string(&j, "system", system_text(text, sizeof text));
    cli_json_i64(&j, "processors", sysconf(_SC_NPROCESSORS_ONLN));
    cli_json_i64(&j, "usable_processors", kq_cpu_count());
    cli_json_list(&j, "cpu_features");
    for (uint32_t bit = 1; bit; bit <<= 1) {
        if ((kq_cpu_features() & bit) && kq_cpu_feature_name(bit)) cli_json_string(&j, NULL, kq_cpu_feature_name(bit));
    }
    cli_json_end(&j, ']');
    cli_json_array(&j, "kernels");
    for (size_t i = 0; i < k->n; i++) {
        cli_json_object(&j, NULL);
        cli_json_string(&j, "op", k->rows[i].op);
        cli_json_string(&j, "codec", k->rows[i].codec);
        cli_json_string(&j, "variant", k->rows[i].variant);
        cli_json_end(&j, '}');
    }
    cli_json_end(&j, ']');
    cli_json_object(&j, "default_model");
    if (t->path) {
        cli_json_string(&j, "path", t->path);
    } else {
        cli_json_null(&j, "path");
    }
    cli_json_bool(&j, "works", t->works);
    if (t->works) cli_json_f64(&j, "milliseconds", t->seconds * 1e3);
    if (t->text[0]) cli_json_string(&j, "error", t->text);
    cli_json_end(&j, '}');
    cli_json_end(&j, '}');
}

/* ---- text ----------------------------------------------------------------------------------------------------------------------- */

/* One line per operation and variant, with the codecs that it serves. */
static void print_kernels(const kernels *k, int width) {
    bool *done = cli_alloc(k->n, sizeof *done);
    for (size_t i = 0; i < k->n; i++) {
        if (done[i]) continue;
        char list[4096] = "";
        size_t n = 0;
        for (size_t r = i; r < k->n; r++) {
            if (strcmp(k->rows[r].op, k->rows[i].op) != 0 || strcmp(k->rows[r].variant, k->rows[i].variant) != 0) continue;
            done[r] = true;
            if (n < sizeof list) n += (size_t)snprintf(list + n, sizeof list - n, " %s", k->rows[r].codec);
        }
        int column = printf("  %-12s %-12s ", k->rows[i].op, k->rows[i].variant);
        cli_wrap(stdout, list, column, column, width);
    }
    free(done);
}

static void print_text(const kernels *k, const trial *t) {
    int width = cli_columns(stdout);
    char text[512];
    printf("kquant      %s, library %s\n", KQ_VERSION, kq_version());
    printf("compiler    %s\n", COMPILER);
    printf("system      %s\n", system_text(text, sizeof text));
    printf("processors  %ld, of which %d may be used\n", sysconf(_SC_NPROCESSORS_ONLN), kq_cpu_count());
    fputs("features   ", stdout);
    uint32_t features = kq_cpu_features();
    for (uint32_t bit = 1; bit; bit <<= 1) {
        if ((features & bit) && kq_cpu_feature_name(bit)) printf(" %s", kq_cpu_feature_name(bit));
    }
    puts(features ? "" : " none that kquant uses");
    if (!t->path) {
        puts("model       none beside this program (in ../models or ../share/kquant)");
    } else {
        char *shown = cli_show(t->path, strlen(t->path), width - 12, true);
        printf("model       %s\n", shown);
        free(shown);
        if (t->works) {
            printf("            works: %.0f ms from opening to the first logits, on one thread\n", t->seconds * 1e3);
        } else {
            printf("            fails: %s\n", t->text);
        }
    }
    puts("\nKernels in use (operation, variant, codecs)");
    print_kernels(k, width);
}

static int run(const void *given) {
    const values *v = given;
    kernels k = {0};
    trial t;
    kq_kernels_list(0, add_kernel, &k);
    try_default(&t);
    if (v->json) {
        print_json(&k, &t);
    } else {
        print_text(&k, &t);
    }
    free(k.rows);
    return t.path && !t.works ? cli_fail(CLI_FAILED, "%s: %s", t.path, t.text) : CLI_FINE;
}

const cli_command cli_doctor = {
    .name = "doctor",
    .usage = "[--json]",
    .summary = "Show what this machine offers and what kquant uses of it",
    .description =
        "Shows versions, processors, their features, the kernels chosen for them, and whether the default model is found and runs.\n"
        "Fails when it is found but does not run.",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .run = run,
};
