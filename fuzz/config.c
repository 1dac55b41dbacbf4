/* SPDX-License-Identifier: MIT */
/* Any bytes as config.json and as the tensors beside it: a zero byte divides the input into the two. Opened both ways; every tensor of what
 * opens can be read. */
#include <kquant/convert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/kquant-fuzz-config-XXXXXX", config[64], weights[64];

static void must(bool truth) {
    if (!truth) abort();
}

static void remove_folder(void) {
    unlink(config);
    unlink(weights);
    rmdir(folder);
}

static void write_file(const char *path, const uint8_t *data, size_t size) {
    FILE *f = fopen(path, "wb");
    must(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static void read_all(const kq_gguf *g) {
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        must(t->weights >= 1 && t->bytes >= 1);
        uint64_t row = t->bytes / (t->weights / t->dims[0]);
        void *bytes = malloc(row);
        must(bytes && kq_gguf_tensor_read(g, t, t->bytes - row, row, bytes, NULL) == KQ_OK);
        free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!config[0]) {
        must(mkdtemp(folder) != NULL);
        snprintf(config, sizeof config, "%s/config.json", folder);
        snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
        must(atexit(remove_folder) == 0);
    }
    if (size > 1 << 20) return 0;
    const uint8_t *zero = memchr(data, 0, size);
    size_t n = zero ? (size_t)(zero - data) : size;
    write_file(config, data, n);
    write_file(weights, zero ? zero + 1 : data, zero ? size - n - 1 : 0);
    for (int lazy = 0; lazy < 2; lazy++) {
        kq_gguf *g;
        kq_error e = {0};
        kq_source_options o = KQ_OPTIONS_INIT(kq_source_options);
        o.lazy = lazy != 0;
        o.no_vocabulary = true;
        kq_status status = kq_source_open(&g, folder, &o, &e);
        must((status == KQ_OK) == (g != NULL) && (status == KQ_OK || e.text[0]));
        if (!g) continue;
        read_all(g);
        kq_gguf_close(g);
    }
    return 0;
}
