/* SPDX-License-Identifier: MIT */
/* Lists the tensors of a GGUF file: tensors FILE. */
#include <kquant/kquant.h>

#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv) {
    kq_gguf *file;
    kq_error err;
    if (argc != 2) return 2;
    if (kq_gguf_open(&file, argv[1], NULL, &err)) {
        fprintf(stderr, "%s: %s\n", err.file, err.text);
        return 1;
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(file); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(file, i);
        const kq_codec_info *codec = kq_codec_describe(t->codec);
        printf("%-6s %12" PRIu64 " bytes  %.*s\n", codec->label, t->bytes, (int)t->name.size, t->name.data);
    }
    kq_gguf_close(file);
    return 0;
}
