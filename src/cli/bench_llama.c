/* SPDX-License-Identifier: MIT */
/* llama.cpp as a peer: libllama.so, or the program llama-bench, whose CSV is read. The library runs in a child process, which answers
 * questions through a pipe: what it does to itself (an abort, an illegal instruction) ends only the comparison. */
#include "cli/bench_peer.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct bench_llama {
    const bench_peer *peer;
    const char *path; /* of the model */
    pid_t child;      /* 0: the peer is a program */
    int ask, answer;  /* ends of the pipes to and from the child */
};

/* What goes through the pipes: a question, and tokens a second, which are negative when it failed. */
typedef struct question {
    bool prompt;
    int64_t n, threads;
} question;

static bool put(int fd, const void *data, size_t size) {
    ssize_t n;
    do n = write(fd, data, size);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size; /* less than PIPE_BUF: whole or not at all */
}

static bool take(int fd, void *data, size_t size) {
    ssize_t n;
    do n = read(fd, data, size);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

/* ---- the child --------------------------------------------------------------------------------------------------------------- */

static void stay_quiet(int level, const char *text, void *ctx) { (void)level, (void)text, (void)ctx; }

/* n_ctx, n_batch, n_ubatch come first, and these are their defaults: where they are not, the structure is not the one we know. */
static bool set_context(bench_block *params, uint32_t n_ctx) {
    static const uint32_t known[3] = {512, 2048, 512};
    if (memcmp(params, known, sizeof known) != 0) return false;
    memcpy(params, &n_ctx, sizeof n_ctx);
    return true;
}

static void *open_context(const bench_peer *p, const char *path, uint32_t n_ctx) {
    p->llama_log_set(stay_quiet, NULL);
    bench_block params = p->llama_context_default_params();
    if (!set_context(&params, n_ctx)) {
        cli_fail(CLI_FAILED, "%s: its llama_context_params are not those that are known; give a llama-bench instead", p->path);
        return NULL;
    }
    void *model = p->llama_model_load_from_file(path, p->llama_model_default_params());
    void *context = model ? p->llama_init_from_model(model, params) : NULL;
    if (!context) cli_fail(CLI_FAILED, "%s does not load %s", p->path, path);
    return context;
}

static double measure(const bench_peer *p, void *context, const question *q, int32_t *tokens) {
    enum { BATCH = 512 };
    int32_t status = 0;
    p->llama_set_n_threads(context, (int32_t)q->threads, (int32_t)q->threads);
    p->llama_memory_clear(p->llama_get_memory(context), true);
    double start = bench_now(q->threads);
    for (int64_t i = 0; i < q->n && !status && !cli_stopped(); i += q->prompt ? BATCH : 1) {
        int32_t size = q->prompt ? (int32_t)CLI_MIN(q->n - i, (int64_t)BATCH) : 1;
        status = p->llama_decode(context, p->llama_batch_get_one(tokens + i, size));
        p->llama_synchronize(context);
    }
    double seconds = bench_now(q->threads) - start;
    if (status) cli_fail(CLI_FAILED, "%s: llama_decode returns %d", p->path, (int)status);
    return status ? -1 : (double)q->n / seconds;
}

/* Answers once when the model is there, then each question until there are no more. */
static void serve(const bench_llama *l, uint32_t n_ctx, int32_t *tokens) {
    question q;
    void *context = open_context(l->peer, l->path, n_ctx);
    double rate = context ? 0 : -1;
    while (put(l->answer, &rate, sizeof rate) && context && take(l->ask, &q, sizeof q)) rate = measure(l->peer, context, &q, tokens);
    _exit(0);
}

/* ---- the parent -------------------------------------------------------------------------------------------------------------- */

static bool start(bench_llama *l, uint32_t n_ctx, int32_t *tokens) {
    int to[2], from[2];
    if (pipe(to)) return false;
    if (pipe(from)) return close(to[0]), close(to[1]), false;
    fflush(stdout);
    l->child = fork();
    bool is_child = l->child == 0;
    l->ask = to[is_child ? 0 : 1];
    l->answer = from[is_child ? 1 : 0];
    close(to[is_child ? 1 : 0]);
    close(from[is_child ? 0 : 1]);
    if (is_child) serve(l, n_ctx, tokens);
    return l->child > 0;
}

/* Waits for an answer; says so when the child died. */
static double heard(bench_llama *l) {
    double rate;
    int status = 0;
    if (take(l->answer, &rate, sizeof rate)) return rate;
    while (waitpid(l->child, &status, 0) < 0 && errno == EINTR) {}
    l->child = -1;
    if (WIFSIGNALED(status)) cli_fail(CLI_FAILED, "%s died of signal %d (%s)", l->peer->path, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else cli_fail(CLI_FAILED, "%s ended early", l->peer->path);
    return -1;
}

bench_llama *bench_llama_open(const bench_peer *p, const char *model, uint32_t n_ctx, int32_t *tokens) {
    bench_llama *l = cli_alloc(1, sizeof *l);
    *l = (bench_llama){.peer = p, .path = model, .ask = -1, .answer = -1};
    if (bench_peer_runs_program(p)) return l;
    if (start(l, n_ctx, tokens) && heard(l) >= 0) return l;
    bench_llama_close(l);
    return NULL;
}

void bench_llama_close(bench_llama *l) {
    if (!l) return;
    if (l->ask >= 0) close(l->ask); /* no more questions */
    if (l->answer >= 0) close(l->answer);
    while (l->child > 0 && waitpid(l->child, NULL, 0) < 0 && errno == EINTR) {}
    free(l);
}

static double by_library(bench_llama *l, bool prompt, int64_t n, int64_t threads) {
    question q;
    memset(&q, 0, sizeof q);
    q.prompt = prompt;
    q.n = n;
    q.threads = threads;
    if (l->child <= 0) return -1;
    signal(SIGPIPE, SIG_IGN); /* a child that died is told by its answer that does not come */
    bool asked = put(l->ask, &q, sizeof q);
    signal(SIGPIPE, SIG_DFL);
    (void)asked;
    return heard(l);
}

/* ---- the program ------------------------------------------------------------------------------------------------------------ */

/* What a program writes to its standard output, zero-terminated; NULL: it cannot be started, or fails. Its errors go where ours go. */
static char *output_of(const char *program, char **args) {
    int ends[2];
    if (pipe(ends)) return NULL;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    pid_t child;
    int failed = posix_spawn(&child, program, &actions, NULL, args, environ), status = 0;
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    enum { MOST = 1 << 20 };
    char *text = cli_alloc(MOST + 1, 1);
    size_t size = 0;
    for (ssize_t n = 1; !failed && n > 0 && size < MOST; size += n > 0 ? (size_t)n : 0) {
        do n = read(ends[0], text + size, MOST - size);
        while (n < 0 && errno == EINTR && !cli_stopped());
    }
    close(ends[0]);
    text[size] = 0;
    while (!failed && waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (!failed && WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
    free(text);
    return NULL;
}

/* Cell `column` of a line of CSV, without its quotes. */
static bool cell(const char *line, size_t column, char *out, size_t size) {
    for (size_t at = 0; *line && *line != '\n'; at++) {
        bool quoted = *line == '"';
        size_t n = quoted ? strcspn(line + 1, "\"\n") : strcspn(line, ",\n");
        if (at == column) {
            snprintf(out, size, "%.*s", (int)n, line + quoted);
            return true;
        }
        line += n + quoted;
        if (quoted && *line == '"') line++;
        if (*line == ',') line++;
    }
    return false;
}

/* avg_ts of the only result: the column is found by the name in the header, which is the first line that has it. */
static double rate_in(const char *text) {
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char name[64], value[64];
        for (size_t column = 0; cell(line, column, name, sizeof name); column++) {
            const char *next = strchr(line, '\n');
            if (!strcmp(name, "avg_ts") && next && cell(next + 1, column, value, sizeof value)) return strtod(value, NULL);
        }
    }
    return 0;
}

static double by_program(bench_llama *l, bool prompt, int64_t n, int64_t threads) {
    char count[24], thread_count[24];
    snprintf(count, sizeof count, "%lld", (long long)n);
    snprintf(thread_count, sizeof thread_count, "%lld", (long long)threads);
    const char *args[] = {l->peer->path, "-m", l->path, "-p", prompt ? count : "0", "-n", prompt ? "0" : count, "-t", thread_count, "-r", "1",
                          "-o", "csv", NULL};
    char *text = output_of(l->peer->path, (char **)(uintptr_t)args); /* which are not written to */
    double rate = text ? rate_in(text) : 0;
    free(text);
    if (rate > 0) return rate;
    return cli_fail(CLI_FAILED, "%s -m %s -o csv gives no avg_ts", l->peer->path, l->path), -1;
}

double bench_llama_speed(bench_llama *l, bool prompt, int64_t n, int64_t threads) {
    return bench_peer_runs_program(l->peer) ? by_program(l, prompt, n, threads) : by_library(l, prompt, n, threads);
}
