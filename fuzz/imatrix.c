/* SPDX-License-Identifier: MIT */
/* Importance matrices of either form on any bytes: what opens gives weights that an encoder takes, and is written in both forms;
 * each of those opens again and says the same. */
#include <kquant/file.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool truth) {
    if (!truth) abort();
}

static char path[64];
static void remove_path(void) { (void)unlink(path); }

/* The weights of an entry: all finite and not negative. The caller frees them. */
static float *weights(const kq_imatrix *im, const kq_imatrix_entry *e) {
    kq_error err;
    bool found = false;
    float *w = malloc((size_t)(e->columns * e->groups) * sizeof(float) + 1);
    must(w && !kq_imatrix_weights(im, e->name.data, e->columns, e->groups, w, &found, &err) && found);
    for (uint64_t i = 0; i < e->columns * e->groups; i++) must(w[i] >= 0 && w[i] < INFINITY);
    return w;
}

/* A GGUF keeps every bit. The old form keeps names and sizes. */
static void same(const kq_imatrix *a, const kq_imatrix *b, bool bits) {
    must(kq_imatrix_n_entries(a) == kq_imatrix_n_entries(b));
    for (size_t i = 0; i < kq_imatrix_n_entries(a); i++) {
        const kq_imatrix_entry *x = kq_imatrix_entry_at(a, i), *y = kq_imatrix_find(b, x->name.data);
        must(y && x->columns * x->groups == y->columns * y->groups);
        if (!bits) continue;
        must(x->columns == y->columns && x->groups == y->groups);
        must(!memcmp(x->sums, y->sums, (size_t)(x->columns * x->groups) * sizeof(float)));
        must(!memcmp(x->counts, y->counts, (size_t)x->groups * sizeof(float)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kq_imatrix *im, *again;
    kq_error e;
    if (!path[0]) {
        snprintf(path, sizeof path, "/tmp/kquant-fuzz-XXXXXX");
        int fd = mkstemp(path);
        must(fd >= 0 && !close(fd) && !atexit(remove_path));
    }
    kq_status status = kq_imatrix_open_memory(&im, data, size, "fuzz.imatrix", NULL, &e);
    if (status) {
        must(!im && e.status == status && e.text[0]);
        return 0;
    }
    uint64_t at = 0;
    kq_imatrix_issue issue;
    while (kq_imatrix_next_issue(im, &at, &issue)) must(issue.entry && issue.group < issue.entry->groups);
    for (size_t i = 0; i < kq_imatrix_n_entries(im); i++) {
        const kq_imatrix_entry *entry = kq_imatrix_entry_at(im, i);
        must(entry->name.data[entry->name.size] == 0 && kq_imatrix_find(im, entry->name.data));
        free(weights(im, kq_imatrix_find(im, entry->name.data)));
    }
    for (int form = KQ_IMATRIX_GGUF; form <= KQ_IMATRIX_DAT; form++) {
        status = kq_imatrix_write(im, path, (kq_imatrix_form)form, &e);
        must(status ? e.text[0] != 0 : !kq_imatrix_open(&again, path, NULL, &e));
        if (status) continue;
        same(im, again, form == KQ_IMATRIX_GGUF);
        kq_imatrix_close(again);
    }
    kq_imatrix_close(im);
    return 0;
}
