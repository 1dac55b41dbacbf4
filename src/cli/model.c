/* SPDX-License-Identifier: MIT */
/* Which model, and opening it. */
#include "cli/cli.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beside the program, so that a tree or an installation may be moved: build/kquant, build/debug/kquant, and bin/kquant. */
static const char *const default_places[] = {"../models/", "../../models/", "../share/kquant/"};
#define DEFAULT_MODEL "tale-q4_k_m.gguf"

const char *cli_default_model(void) {
    static char found[PATH_MAX];
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self);
    if (n <= 0 || (size_t)n >= sizeof self) return NULL;
    self[n] = 0;
    *(strrchr(self, '/') + 1) = 0;
    for (size_t i = 0; i < CLI_COUNT(default_places); i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s%s%s", self, default_places[i], DEFAULT_MODEL);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && realpath(path, found)) return found;
    }
    return NULL;
}

const char *cli_model_path(const char *given) {
    if (given) return given;
    const char *path = cli_default_model();
    if (!path) {
        cli_fail(CLI_FAILED, "the default model (%s) is not beside this program, in ../models or ../share/kquant; give one with -m FILE",
                 DEFAULT_MODEL);
    }
    return path;
}

static bool model_progress(void *label, double done) {
    cli_bar(label, done);
    return !cli_stopped();
}

int cli_model_open(kq_model **out, const char *path, bool no_tokenizer) {
    kq_model_options options = KQ_OPTIONS_INIT(kq_model_options);
    char label[] = "loading";
    options.progress = model_progress;
    options.progress_ctx = label;
    options.no_tokenizer = no_tokenizer;
    cli_signals_file(path);
    kq_error e;
    kq_status status = kq_model_open(out, path, &options, &e);
    cli_bar_clear();
    return status ? cli_fail_kq(path, &e) : CLI_FINE;
}
