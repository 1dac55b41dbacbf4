/* SPDX-License-Identifier: MIT */
/* kquant run: a model continues a text. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { KV_AUTO, KV_F16, KV_F32 }; /* in the order of --kv's choices */

typedef struct values {
    cli_values common;
    const char *model, *prompt, *file;
    bool escape, no_display_prompt, special, ignore_eos, exact, quiet;
    int64_t predict, ctx_size, batch_size, threads, top_k, repeat_last_n, seed;
    double temp, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    int kv;
} values;

static const cli_option options[] = {
    {.kind = CLI_HEADING, .help = "Text"},
    {.names = "-m --model", CLI_IS_FILE(model), .help = CLI_HELP_MODEL},
    {.names = "-p --prompt", CLI_IS_TEXT(prompt, "TEXT"), .help = "the text to continue, taken as it is"},
    {.names = "-f --file", CLI_IS_FILE(file), .help = "read the text from a file, without its last line break; - is standard input"},
    {.names = "-n --predict", .aliases = "--n-predict --max-tokens --max-new-tokens", CLI_IS_WHOLE(predict, "N", -1, INT32_MAX),
     .fallback = "-1", .help = "tokens to generate at most; -1 is until the text ends or the context is full"},
    {.names = "-e --escape", CLI_IS_FLAG(escape), .help = CLI_HELP_ESCAPE},
    {.names = "--no-display-prompt", CLI_IS_FLAG(no_display_prompt),
     .help = "print the continuation alone; otherwise the prompt comes before it"},
    {.names = "--special", .aliases = "-sp", CLI_IS_FLAG(special), .help = "print special tokens too"},
    {.names = "--ignore-eos", CLI_IS_FLAG(ignore_eos), .help = "never end the text: the tokens that would are not chosen"},
    {.names = "-q --quiet", CLI_IS_FLAG(quiet), .help = "no bars, notes and statistics"},
    {.kind = CLI_HEADING, .help = "Choice of tokens"},
    {.names = "--temp", .aliases = "--temperature", CLI_IS_NUMBER(temp, "T", 0, 100), .fallback = "0.8",
     .help = "temperature; 0 always takes the likeliest token"},
    {.names = "--top-k", CLI_IS_WHOLE(top_k, "K", INT32_MIN, INT32_MAX), .fallback = "40",
     .help = "choose among the K likeliest; 0 or less is off"},
    {.names = "--top-p", CLI_IS_NUMBER(top_p, "P", 0, 1), .fallback = "0.95",
     .help = "choose among the likeliest that together have probability P; 1 is off"},
    {.names = "--min-p", CLI_IS_NUMBER(min_p, "P", 0, 1), .fallback = "0.05",
     .help = "choose among those that are P times as likely as the likeliest; 0 is off"},
    {.names = "-s --seed", CLI_IS_WHOLE(seed, "N", -1, UINT32_MAX), .fallback = "-1",
     .help = "of the random choices; -1 takes one at random, which the statistics show"},
    {.names = "--repeat-penalty", .aliases = "--repetition-penalty", CLI_IS_NUMBER(repeat_penalty, "R", 0, 100), .fallback = "1",
     .help = "makes tokens that occurred less likely; 1 is off"},
    {.names = "--presence-penalty", CLI_IS_NUMBER(presence_penalty, "R", -100, 100), .fallback = "0",
     .help = "taken from the logits of tokens that occurred"},
    {.names = "--frequency-penalty", CLI_IS_NUMBER(frequency_penalty, "R", -100, 100), .fallback = "0",
     .help = "taken from them for each time that they occurred"},
    {.names = "--repeat-last-n", CLI_IS_WHOLE(repeat_last_n, "N", -1, INT32_MAX), .fallback = "64",
     .help = "how many tokens back the penalties look; 0 is off, -1 the whole context"},
    {.kind = CLI_HEADING, .help = "Machine"},
    {.names = "-c --ctx-size", .aliases = "--max-seq-length", CLI_IS_WHOLE(ctx_size, "N", 0, INT32_MAX), .fallback = "0",
     .help = "most tokens, prompt and continuation; 0 is the model's own, at most 4096"},
    {.names = "-t --threads", CLI_IS_WHOLE(threads, "N", 0, 512), .fallback = "0", .help = CLI_HELP_THREADS},
    {.names = "-b --batch-size", CLI_IS_WHOLE(batch_size, "N", 1, 65536), .fallback = "512",
     .help = "tokens of the prompt that are evaluated together"},
    {.names = "--kv", .aliases = CLI_KV_ALIASES, CLI_IS_CHOICE(kv, "TYPE", "auto f16 f32"), .fallback = "auto",
     .help = "number format of the KV cache; auto is f32 with --exact, otherwise f16"},
    {.names = "--exact", CLI_IS_FLAG(exact), .help = CLI_HELP_EXACT},
};

static const char default_prompt[] = "Once upon a time there was a king who";

/* Everything of one run. Freed by release, whatever was reached. */
typedef struct story {
    const values *v;
    const char *path;
    kq_model *model;
    const kq_tokenizer *tokenizer;
    kq_pool *pool;
    kq_session *session;
    kq_sampler *sampler;
    int32_t *ids; /* [n_ids] the prompt */
    size_t n_ids, n_shown; /* n_shown: without a BOS that was added */
    float *logits;         /* [n_vocab] */
    int32_t *ends;         /* [n_ends] ids that end a text */
    size_t n_ends, n_vocab;
    char *piece;
    size_t piece_capacity;
    char last; /* byte that was printed */
    uint32_t seed;
    double loading, reading, writing; /* seconds */
    size_t written;                   /* tokens */
    const char *end;                  /* why it stopped */
} story;

static void release(story *s) {
    kq_sampler_close(s->sampler);
    kq_session_close(s->session);
    kq_pool_close(s->pool);
    kq_model_close(s->model);
    free(s->ids);
    free(s->logits);
    free(s->ends);
    free(s->piece);
}

/* ---- the prompt ----------------------------------------------------------------------------------------------------------- */

/* The text of -p, -f or the default; an exit code. */
static int prompt_text(const values *v, char **text, size_t *size) {
    if (v->prompt && v->file) return cli_fail_usage(&cli_run, "give the text with -p or with -f, not both");
    /* a model that is not there is told before the text is asked for, or waited for on standard input */
    if (v->model && access(v->model, F_OK)) return cli_fail(CLI_FAILED, "%s: cannot open: %s", v->model, strerror(errno));
    if (v->file) {
        if (!cli_read_file(v->file, text, size)) return cli_stopped() ? cli_stopped_code() : CLI_FAILED;
        if (*size && (*text)[*size - 1] == '\n') (*text)[--*size] = 0; /* every editor adds one, and few mean it */
        return CLI_FINE;
    }
    if (!v->prompt && v->model) return cli_fail_usage(&cli_run, "give the text to continue: -p TEXT, or -f FILE");
    const char *prompt = v->prompt ? v->prompt : default_prompt;
    *size = strlen(prompt);
    *text = cli_alloc(*size + 1, 1);
    memcpy(*text, prompt, *size);
    if (v->escape) {
        *size = cli_unescape(*text, *size);
    } else if (strstr(prompt, "\\n")) {
        cli_note("the prompt holds \\n as two characters; -e makes it a line break");
    }
    return CLI_FINE;
}

static int prompt_ids(story *s, const char *text, size_t size) {
    kq_error e;
    if (cli_encode(s->tokenizer, text, size, KQ_ENCODE_SPECIAL, &s->ids, &s->n_ids, &e)) return cli_fail_kq(s->path, &e);
    int32_t bos = kq_tokenizer_bos(s->tokenizer);
    s->n_shown = s->n_ids;
    bool add = bos != KQ_NO_TOKEN && (s->n_ids == 0 || (kq_tokenizer_adds_bos(s->tokenizer) && s->ids[0] != bos));
    if (add) {
        memmove(s->ids + 1, s->ids, s->n_ids++ * sizeof *s->ids);
        s->ids[0] = bos;
    }
    if (s->n_ids == 0) return cli_fail_usage(&cli_run, "the prompt is empty, and the vocabulary has no BOS token to begin with");
    size_t capacity = kq_session_capacity(s->session);
    if (s->n_ids > capacity) {
        return cli_fail(CLI_FAILED, "the prompt has %zu tokens, but the context only %zu; -c makes it larger", s->n_ids, capacity);
    }
    return CLI_FINE;
}

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static int open_session(story *s) {
    const values *v = s->v;
    kq_error e;
    kq_session_options o = KQ_OPTIONS_INIT(kq_session_options);
    if (kq_pool_open(&s->pool, (int)v->threads, NULL, &e)) return cli_fail_kq(NULL, &e);
    o.pool = s->pool;
    o.n_ctx = (uint32_t)v->ctx_size;
    o.n_batch = (uint32_t)v->batch_size;
    o.state_type = v->kv == KV_F32 || (v->kv == KV_AUTO && v->exact) ? KQ_STATE_F32 : KQ_STATE_F16;
    o.mode = v->exact ? KQ_EXACT : KQ_FAST;
    if (kq_session_open(&s->session, s->model, &o, &e)) return cli_fail_kq(NULL, &e);
    uint64_t trained = kq_model_describe(s->model).n_ctx_train;
    if (trained && kq_session_capacity(s->session) > trained) {
        cli_note("the context of %zu tokens is longer than the %llu the model was trained with", kq_session_capacity(s->session),
                 (unsigned long long)trained);
    }
    return CLI_FINE;
}

static int open_sampler(story *s) {
    const values *v = s->v;
    kq_sampler_options o = KQ_OPTIONS_INIT(kq_sampler_options);
    s->seed = (uint32_t)v->seed;
    if (v->seed < 0 && getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed) s->seed = (uint32_t)(cli_seconds() * 1e6);
    o.seed = s->seed;
    o.temperature = (float)v->temp;
    o.top_k = (uint32_t)CLI_MAX(v->top_k, 0);
    o.top_p = v->top_p > 0 ? (float)v->top_p : 1e-30f; /* for the library 0 is off; for users it is the strictest */
    o.min_p = (float)v->min_p;
    if (v->repeat_last_n != 0) {
        size_t back = v->repeat_last_n < 0 ? kq_session_capacity(s->session) : (size_t)v->repeat_last_n;
        o.repeat_last_n = (uint32_t)CLI_MIN(back, kq_session_capacity(s->session));
        o.repeat_penalty = (float)v->repeat_penalty;
        o.presence_penalty = (float)v->presence_penalty;
        o.frequency_penalty = (float)v->frequency_penalty;
    }
    kq_error e;
    if (kq_sampler_open(&s->sampler, s->n_vocab, &o, &e)) return cli_fail_kq(NULL, &e);
    for (size_t i = 0; i < s->n_ids; i++) kq_sampler_accept(s->sampler, s->ids[i]);
    return CLI_FINE;
}

static int open_all(story *s, const char *text, size_t size) {
    double start = cli_seconds();
    int code = cli_model_open(&s->model, s->path, false);
    if (code) return code;
    s->tokenizer = kq_model_tokenizer(s->model);
    if (!s->tokenizer) return cli_fail(CLI_BAD_FILE, "%s: the file has no tokenizer", s->path);
    s->n_vocab = (size_t)kq_model_describe(s->model).n_vocab;
    s->logits = cli_alloc(s->n_vocab, sizeof *s->logits);
    s->piece_capacity = CLI_MAX(kq_detokenizer_capacity(s->tokenizer), (size_t)16);
    s->piece = cli_alloc(s->piece_capacity, 1);
    if (s->v->ignore_eos) {
        s->ends = cli_alloc(s->n_vocab, sizeof *s->ends);
        for (size_t i = 0; i < s->n_vocab; i++) {
            if (kq_tokenizer_is_end(s->tokenizer, (int32_t)i)) s->ends[s->n_ends++] = (int32_t)i;
        }
    }
    if ((code = open_session(s)) != CLI_FINE || (code = prompt_ids(s, text, size)) != CLI_FINE) return code;
    code = open_sampler(s);
    s->loading = cli_seconds() - start;
    return code;
}

/* ---- reading and writing ---------------------------------------------------------------------------------------------------- */

/* Evaluates the prompt, a batch at a time so that Ctrl-C is heard and the bar moves. */
static int read_prompt(story *s) {
    enum { LONG_PROMPT = 64 };
    double start = cli_seconds();
    size_t batch = (size_t)s->v->batch_size;
    kq_error e;
    for (size_t at = 0, n; at < s->n_ids && !cli_stopped(); at += n) {
        n = CLI_MIN(batch, s->n_ids - at);
        bool last = at + n == s->n_ids;
        if (s->n_ids > LONG_PROMPT) cli_bar("reading the prompt", (double)at / (double)s->n_ids);
        if (kq_session_append(s->session, s->ids + at, n, last ? s->logits : NULL, last, &e)) return cli_fail_kq(NULL, &e);
    }
    cli_bar_clear();
    s->reading = cli_seconds() - start;
    return CLI_FINE;
}

static bool put_text(story *s, const char *text, size_t size) {
    if (size == 0) return true;
    s->last = text[size - 1];
    return cli_put(text, size) && cli_flush();
}

/* Prints the prompt as the model reads it, which shows what the tokenizer made of it. */
static int print_prompt(story *s, kq_detokenizer *d) {
    kq_error e;
    for (size_t i = s->n_ids - s->n_shown; i < s->n_ids; i++) {
        size_t size;
        if (kq_detokenizer_feed(d, s->ids[i], s->piece, s->piece_capacity, &size, &e)) return cli_fail_kq(NULL, &e);
        if (s->v->no_display_prompt) continue; /* fed all the same: a character may begin in the prompt */
        if (size) s->last = s->piece[size - 1];
        if (!cli_put(s->piece, size)) return CLI_FAILED;
    }
    return cli_flush() ? CLI_FINE : CLI_FAILED;
}

/* Evaluates the last token, draws the next and prints it, until something ends it. */
static int write_story(story *s, kq_detokenizer *d) {
    size_t most = s->v->predict < 0 ? SIZE_MAX : (size_t)s->v->predict, capacity = kq_session_capacity(s->session);
    int32_t token = KQ_NO_TOKEN;
    kq_error e;
    while (true) {
        if (cli_stopped()) s->end = "interrupted";
        else if (s->written >= most) s->end = "all tokens written";
        else if (s->n_ids + s->written >= capacity) s->end = "context full";
        if (s->end) return CLI_FINE;
        if (token != KQ_NO_TOKEN && kq_session_append(s->session, &token, 1, s->logits, 1, &e)) return cli_fail_kq(NULL, &e);
        for (size_t i = 0; i < s->n_ends; i++) s->logits[s->ends[i]] = -INFINITY;
        if (kq_sampler_draw(s->sampler, s->logits, &token, &e)) return cli_fail_kq(NULL, &e);
        if (kq_tokenizer_is_end(s->tokenizer, token)) {
            s->end = "end of the text";
            return CLI_FINE;
        }
        size_t size;
        if (kq_detokenizer_feed(d, token, s->piece, s->piece_capacity, &size, &e)) return cli_fail_kq(NULL, &e);
        s->written++;
        if (!put_text(s, s->piece, size)) {
            if (!cli_stopped()) return CLI_FAILED;
            s->end = "interrupted";
            return CLI_FINE;
        }
    }
}

static int tell(story *s) {
    kq_detokenizer d;
    kq_detokenizer_init(&d, s->tokenizer, s->v->special, true);
    int code = read_prompt(s); /* before it is printed: text and bar would share a line */
    if (!code) code = print_prompt(s, &d);
    if (code) return code;
    double start = cli_seconds();
    code = write_story(s, &d);
    s->writing = cli_seconds() - start;
    size_t size;
    kq_error e;
    if (!code && kq_detokenizer_finish(&d, s->piece, s->piece_capacity, &size, &e)) code = cli_fail_kq(NULL, &e);
    if (!code && !put_text(s, s->piece, size)) code = CLI_FAILED;
    /* the text itself has no line break at its end, and a file shall hold the text itself; a terminal wants one */
    if (isatty(STDOUT_FILENO) && s->last && s->last != '\n' && cli_put("\n", 1)) cli_flush();
    return code;
}

/* ---- statistics ------------------------------------------------------------------------------------------------------------- */

static cli_number duration(double seconds) {
    cli_number n;
    if (seconds < 1) {
        snprintf(n.text, sizeof n.text, "%.*f ms", seconds < 0.01 ? 1 : 0, seconds * 1e3);
    } else if (seconds < 100) {
        snprintf(n.text, sizeof n.text, "%.2f s", seconds);
    } else {
        snprintf(n.text, sizeof n.text, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    }
    return n;
}

static void print_rate(const char *label, size_t tokens, double seconds) {
    fprintf(stderr, "%-12s%zu token%s in %s", label, tokens, tokens == 1 ? "" : "s", duration(seconds).text);
    if (tokens > 0 && seconds > 0) fprintf(stderr, ", %s tokens/s", cli_rate((double)tokens / seconds).text);
    putc('\n', stderr);
}

static void print_statistics(const story *s) {
    if (s->v->quiet) return;
    kq_model_info info = kq_model_describe(s->model);
    char *name = cli_show(info.name[0] ? info.name : info.architecture, strlen(info.name[0] ? info.name : info.architecture), 40, false);
    fprintf(stderr, "%s\n%-12s%s, %s parameters, %s, loaded in %s\n", cli_faint(), "model", name, cli_count(info.n_params).text,
            cli_bytes(info.weight_bytes).text, duration(s->loading).text);
    free(name);
    print_rate("prompt", s->n_ids, s->reading);
    print_rate("generation", s->written, s->writing);
    fprintf(stderr, "%-12s%s; context %zu of %zu; seed %lu%s\n", "stopped", s->end, s->n_ids + s->written, kq_session_capacity(s->session),
            (unsigned long)s->seed, cli_plain());
}

static int run(const void *given) {
    const values *v = given;
    cli_quiet = v->quiet;
    cli_signals_catch_stop();
    char *text = NULL;
    size_t size = 0;
    int code = prompt_text(v, &text, &size);
    if (code) return code;
    story s = {.v = v, .path = cli_model_path(v->model)};
    code = s.path ? open_all(&s, text, size) : CLI_FAILED;
    free(text);
    if (!code) code = tell(&s);
    if (!code && s.end) print_statistics(&s);
    if (!code && !strcmp(s.end, "context full")) cli_note("the context is full; -c makes it larger");
    release(&s);
    return cli_stopped() ? cli_stopped_code() : code;
}

const cli_command cli_run = {
    .name = "run",
    .aliases = "generate",
    .usage = "[-m MODEL] [-p TEXT | -f FILE] [-n N] [options]",
    .summary = "Continue a text with a model",
    .description =
        "Prints a text and its continuation as it comes; --no-display-prompt leaves the text out. Special tokens in it are\n"
        "recognised, and a BOS token is added in front where the model wants one. None of them is printed; --special prints\n"
        "those in the text and its continuation.\n"
        "\n"
        "Without -m the story model that comes with kquant runs, and without -p it begins a story of its own.\n"
        "\n"
        "Speed and the reason of the end are shown on standard error. Ctrl-C ends the text, a second one the program.",
    .examples = "kquant run\nkquant run -m model.gguf -p \"The capital of France is\" -n 32 --temp 0\n"
                "echo \"Dear Sir,\" | kquant run -m model.gguf -f - > letter.txt",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .run = run,
};
