/* SPDX-License-Identifier: MIT */
/* kquant tokenize: the ids of a text. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *model, *prompt, *file;
    bool bos, json, no_special, escape;
} values;

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model),
     .help = "model: a GGUF, one with a vocabulary alone too, or a folder (without: the one that comes with kquant)"},
    {.names = "-p --prompt", CLI_IS_TEXT(prompt, "TEXT"), .help = "the text"},
    {.names = "-f --file", CLI_IS_FILE(file), .help = "read the text from a file, every byte of it; - is standard input"},
    {.names = "-e --escape", CLI_IS_FLAG(escape), .help = CLI_HELP_ESCAPE},
    {.names = "--bos", CLI_IS_FLAG(bos), .help = "begin with the BOS token"},
    {.names = "--no-special", .aliases = "--no-parse-special", CLI_IS_FLAG(no_special),
     .help = "special tokens written in the text are text"},
    {.names = "--json", .aliases = "--ids", CLI_IS_FLAG(json), .help = "print a JSON array of ids and nothing else"},
};

/* A line a token: its id, and its piece in quotes so that spaces can be seen. */
static int print_list(const kq_tokenizer *t, const int32_t *ids, size_t n) {
    size_t capacity = 256;
    char *piece = cli_alloc(capacity, 1);
    for (size_t i = 0; i < n; i++) {
        size_t size;
        kq_error e;
        kq_status status = kq_tokenizer_piece(t, ids[i], true, piece, capacity, &size, &e);
        if (!status && size > capacity) {
            piece = cli_grow(piece, capacity = size, 1);
            status = kq_tokenizer_piece(t, ids[i], true, piece, capacity, &size, &e);
        }
        if (status) {
            free(piece);
            return cli_fail_kq(NULL, &e);
        }
        char *shown = cli_show(piece, size, 0, false);
        printf("%8d  \"%s\"\n", (int)ids[i], shown);
        free(shown);
    }
    free(piece);
    return CLI_FINE;
}

static int tokenize(const values *v, const char *path, const char *text, size_t size) {
    cli_signals_file(path);
    kq_gguf *g;
    kq_tokenizer *t;
    kq_error e;
    kq_source_options lazy = KQ_OPTIONS_INIT(kq_source_options);
    lazy.lazy = true;
    if (kq_source_open(&g, path, &lazy, &e)) return cli_fail_kq(path, &e);
    kq_status status = kq_tokenizer_open(&t, g, NULL, &e);
    kq_gguf_close(g);
    if (status) return cli_fail_kq(path, &e);
    int code = CLI_FINE;
    int32_t bos = kq_tokenizer_bos(t), *ids = NULL;
    size_t n;
    if (v->bos && bos == KQ_NO_TOKEN) {
        code = cli_fail(CLI_FAILED, "%s: --bos: the vocabulary has no BOS token", path);
    } else if (cli_encode(t, text, size, v->no_special ? 0 : KQ_ENCODE_SPECIAL, &ids, &n, &e)) {
        code = cli_fail_kq(path, &e);
    } else {
        if (v->bos) {
            memmove(ids + 1, ids, n++ * sizeof *ids); /* cli_encode leaves room for one more */
            ids[0] = bos;
        }
        if (v->json) {
            cli_json j = {.out = stdout};
            cli_json_list(&j, NULL);
            for (size_t i = 0; i < n; i++) cli_json_i64(&j, NULL, ids[i]);
            cli_json_end(&j, ']');
        } else {
            code = print_list(t, ids, n);
        }
    }
    free(ids);
    kq_tokenizer_close(t);
    return code;
}

static int run(const void *given) {
    const values *v = given;
    if (!v->prompt == !v->file)
        return cli_fail_usage(&cli_tokenize, "give the text with -p TEXT or with -f FILE%s", v->prompt ? ", not both" : "");
    const char *path = cli_model_path(v->model);
    if (!path) return CLI_FAILED;
    char *text;
    size_t size;
    if (v->prompt) {
        size = strlen(v->prompt);
        text = cli_alloc(size + 1, 1);
        memcpy(text, v->prompt, size);
        if (v->escape) size = cli_unescape(text, size);
    } else if (!cli_read_file(v->file, &text, &size)) {
        return CLI_FAILED;
    }
    int code = tokenize(v, path, text, size);
    free(text);
    return code;
}

const cli_command cli_tokenize = {
    .name = "tokenize",
    .usage = "[-m MODEL] (-p TEXT | -f FILE) [--bos] [--json]",
    .summary = "Show the tokens of a text",
    .description = "Prints the ids and pieces of a text's tokens, exactly as the model would see them. Special tokens in the text are\n"
                   "recognised. No BOS token is added unless --bos asks for it. The text of -p is taken as it is; -e makes escapes work.",
    .examples = "kquant tokenize -p \"Once upon a time\"\nkquant tokenize -m model.gguf -f story.txt --json",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .needs_arguments = true,
    .run = run,
};
