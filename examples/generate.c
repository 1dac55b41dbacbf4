/* SPDX-License-Identifier: MIT */
/* Continues a prompt: generate MODEL PROMPT [TOKENS]. Greedy, on all processors; everything that can fail tells why. */
#include <kquant/kquant.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s MODEL PROMPT [TOKENS]\n", argv[0]), 2;
    kq_error err = {.status = KQ_OK};
    kq_model *model = NULL;
    kq_pool *pool = NULL;
    kq_session *session = NULL;
    kq_sampler *sampler = NULL;
    float *logits = NULL;
    int32_t tokens[1024];
    size_t n, left = argc > 3 ? strtoul(argv[3], NULL, 10) : 100;
    int result = 1;

    if (kq_pool_open(&pool, 0, NULL, &err) || kq_model_open(&model, argv[1], NULL, &err)) goto done;
    kq_session_options session_options = KQ_OPTIONS_INIT(kq_session_options);
    session_options.pool = pool;
    kq_sampler_options greedy = KQ_OPTIONS_INIT(kq_sampler_options);
    const size_t n_vocab = kq_model_describe(model).n_vocab;
    const kq_tokenizer *tokenizer = kq_model_tokenizer(model);
    if (kq_session_open(&session, model, &session_options, &err) || kq_sampler_open(&sampler, n_vocab, &greedy, &err)) goto done;
    if (!(logits = malloc(n_vocab * sizeof *logits))) goto done;

    if (kq_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), KQ_ENCODE_ADD_SPECIAL, tokens, 1024, &n, &err)) goto done;
    if (n == 0 || n > 1024) { /* nothing to continue, or more than there is room for */
        fprintf(stderr, "the prompt has %zu tokens; 1 to 1024 fit here\n", n);
        goto done;
    }
    kq_detokenizer text;
    kq_detokenizer_init(&text, tokenizer, false, false);
    for (int32_t token; left > 0; left--, tokens[0] = token, n = 1) {
        if (kq_session_append(session, tokens, n, logits, 1, &err) || kq_sampler_draw(sampler, logits, &token, &err)) goto done;
        if (kq_tokenizer_is_end(tokenizer, token)) break;
        char piece[4096];
        size_t size;
        if (kq_detokenizer_feed(&text, token, piece, sizeof piece, &size, &err)) goto done;
        fwrite(piece, 1, size, stdout);
        fflush(stdout);
    }
    putchar('\n');
    result = 0;

done:
    if (err.status) fprintf(stderr, "%s%s%s\n", err.file, err.file[0] ? ": " : "", err.text);
    free(logits);
    kq_sampler_close(sampler);
    kq_session_close(session);
    kq_model_close(model);
    kq_pool_close(pool);
    return result;
}
