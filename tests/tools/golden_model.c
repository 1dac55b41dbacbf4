/* SPDX-License-Identifier: MIT */
/* golden_model tokens NAME             the ids that tests/golden/models/NAME.bin is about, separated by commas
 * golden_model make NAME FILE          the model as a GGUF file, with a tokenizer of a kind that does not exist
 * golden_model check NAME FILE LIMIT   is what `kquant logits` wrote to FILE within LIMIT (normalised mean squared error) of NAME.bin? */
#include "golden.h"
#include "make_model.h"

static int print_tokens(const golden_logits *g) {
    for (int32_t i = 0; i < g->n; i++) printf("%s%d", i ? "," : "", (int)g->tokens[i]);
    putchar('\n');
    return 0;
}

static int make(const char *name, const char *path) {
    spec *s = spec_open(name);
    static const char kind[] = "\4\0\0\0\0\0\0\0nope"; /* a string of GGUF: its length in 8 bytes comes first */
    bytes b = spec_file(s, &(spec_change){.key = "tokenizer.ggml.model", .kind = 8, .value = kind, .value_size = sizeof kind - 1});
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b.data, 1, b.size, f) != b.size || fclose(f)) golden_die("cannot be written", path);
    bytes_free(&b);
    spec_close(s);
    return 0;
}

static int check(const golden_logits *g, const char *path, double limit) {
    size_t size, head = 8 + 4 * (size_t)g->n;
    uint8_t *data = golden_read_file(path, &size);
    if (!data) golden_die("is not there", path);
    if (size != g->file.size || memcmp(data, g->file.data, head) != 0) golden_die("another size, vocabulary or other tokens", path);
    double error = nmse((const float *)(const void *)(data + head), g->logits, (size_t)g->n * (size_t)g->n_vocab);
    printf("%.3g\n", error);
    free(data);
    return error <= limit ? 0 : 1;
}

int main(int argc, char **argv) {
    const char *verb = argc > 2 ? argv[1] : "";
    if (argc == 4 && !strcmp(verb, "make")) return make(argv[2], argv[3]);
    if ((argc != 3 || strcmp(verb, "tokens") != 0) && (argc != 5 || strcmp(verb, "check") != 0)) {
        fputs("usage: golden_model tokens NAME | make NAME FILE | check NAME FILE LIMIT\n", stderr);
        return 2;
    }
    golden_logits g = golden_logits_read(argv[2]);
    int code = argc == 3 ? print_tokens(&g) : check(&g, argv[3], strtod(argv[4], NULL));
    bytes_free(&g.file);
    return code;
}
