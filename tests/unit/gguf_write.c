/* SPDX-License-Identifier: MIT */
/* The GGUF writer: what it writes reads back the same; what goes wrong leaves nothing behind and the target untouched. */
#define _GNU_SOURCE /* unshare */
#include "folder.h"
#include "gguf_build.h"
#include "meter.h"

#include "file/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a folder of its own for each test -------------------------------------------------------------------------------- */

static char folder[64], target[128];

static int make_folder(void **state) {
    (void)state;
    if (folder_make(folder, "write")) return -1;
    snprintf(target, sizeof target, "%s/out.gguf", folder);
    return 0;
}
static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}
static int entries(void) {
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2; /* . and .. */
}
static void holds(const char *path, const char *text) {
    bytes b = read_file(path);
    assert_int_equal(b.size, strlen(text));
    assert_memory_equal(b.data, text, b.size);
    bytes_free(&b);
}

static kq_gguf_writer *writer(void) {
    kq_gguf_writer *w;
    kq_error e = {0};
    if (kq_gguf_writer_open(&w, target, NULL, &e)) fail_msg("%s: %s", e.file, e.text);
    return w;
}

/* ---- producers ---------------------------------------------------------------------------------------------------- */

typedef kq_status put_fn(void *sink, const void *data, size_t size, kq_error *err);

typedef struct producer {
    uint64_t size;
    size_t piece;
    kq_status result; /* when not KQ_OK: returned after half of it */
    bool deaf;        /* goes on when put fails, and says that all is well */
    rlim_t limit;     /* when not 0: sets the limit of file sizes after half of it */
    bool kill;
} producer;

static kq_status produce(void *ctx, put_fn *put, void *sink, kq_error *err) {
    const producer *p = ctx;
    static uint8_t piece[3 << 20];
    for (size_t i = 0; i < sizeof piece; i++) piece[i] = (uint8_t)(i * 31);
    for (uint64_t done = 0; done < p->size;) {
        if (done >= p->size / 2 && p->kill) raise(SIGKILL);
        if (done >= p->size / 2 && p->result) return kq_fail(err, p->result, "the producer's own reason");
        if (done >= p->size / 2 && p->limit) {
            struct rlimit l;
            getrlimit(RLIMIT_FSIZE, &l);
            l.rlim_cur = p->limit;
            setrlimit(RLIMIT_FSIZE, &l);
        }
        size_t n = (size_t)KQ_MIN((uint64_t)p->piece, p->size - done);
        kq_status status = put(sink, piece, n, err);
        if (status && !p->deaf) return status;
        done += n;
    }
    return KQ_OK;
}

/* ---- what reads back ---------------------------------------------------------------------------------------------- */

/* Copies all of g into a new file, the tensors alternately given and produced. */
static kq_status copy_produce(void *ctx, put_fn *put, void *sink, kq_error *err) {
    const kq_gguf_tensor *t = ctx;
    for (uint64_t at = 0; at < t->bytes; at += 97) {
        KQ_TRY(put(sink, (const uint8_t *)t->data + at, (size_t)KQ_MIN((uint64_t)97, t->bytes - at), err));
    }
    return KQ_OK;
}
static kq_status copy(const kq_gguf *g, const char *path, const kq_gguf_options *o, kq_error *err) {
    kq_gguf_writer *w;
    KQ_TRY(kq_gguf_writer_open(&w, path, o, err));
    kq_status status = KQ_OK;
    for (size_t i = 0; i < kq_gguf_n_values(g) && !status; i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        status = kq_gguf_writer_value(w, v->key.data, v->kind, v->element, v->count, v->data, (size_t)v->size, err);
    }
    for (size_t i = 0; i < kq_gguf_n_tensors(g) && !status; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        union { const kq_gguf_tensor *in; void *out; } ctx = {.in = t};
        status = kq_gguf_writer_tensor(w, t->name.data, t->codec, t->n_dims, t->dims, i % 2 ? t->data : NULL, i % 2 ? NULL : copy_produce,
                                       ctx.out, err);
    }
    if (!status) status = kq_gguf_writer_finish(w, err);
    kq_gguf_writer_close(w);
    return status;
}

static void a_copy_has_the_same_bytes(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    kq_gguf *g;
    kq_error e = {0};
    assert_int_equal(kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, NULL), KQ_OK);
    if (copy(g, target, NULL, &e)) fail_msg("%s", e.text);
    kq_gguf_close(g);
    put_zeros(&b.out, (0 - b.out.size) % 64); /* the writer pads the last tensor too */
    bytes written = read_file(target);
    assert_int_equal(written.size, b.out.size);
    assert_memory_equal(written.data, b.out.data, b.out.size);
    bytes_free(&written);
    gguf_free(&b);
    assert_int_equal(entries(), 1);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask);
}

static void a_copy_of_the_default_model(void **state) {
    (void)state;
    kq_gguf *g;
    kq_error e = {0};
    const char *path = KQ_SOURCE_DIR "/models/tale-q4_k_m.gguf";
    assert_int_equal(kq_gguf_open(&g, path, NULL, NULL), KQ_OK);
    if (copy(g, target, NULL, &e)) fail_msg("%s", e.text);
    kq_gguf_close(g);
    bytes a = read_file(path), b = read_file(target);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    bytes_free(&a);
    bytes_free(&b);
}

static void every_way_to_add_a_value(void **state) {
    (void)state;
    kq_gguf_writer *w = writer();
    assert_int_equal(kq_gguf_writer_string(w, "name", "first", NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_u32(w, "n", 7, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_f32(w, "f", 0.5f, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_bool(w, "b", true, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_string(w, "empty", "", NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_value(w, "list", KQ_GGUF_ARRAY, KQ_GGUF_I16, 2, (int16_t[]){-1, 2}, 4, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_value(w, "none", KQ_GGUF_ARRAY, KQ_GGUF_STRING, 0, NULL, 0, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_string(w, "name", "second", NULL), KQ_OK); /* in its old place */
    assert_int_equal(kq_gguf_writer_finish(w, NULL), KQ_OK);
    kq_error e;
    assert_int_equal(kq_gguf_writer_finish(w, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_u32(w, "late", 7, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, "late", KQ_F32, 1, (uint64_t[]){1}, &(float){1}, NULL, NULL, &e), KQ_E_ARGUMENT);
    kq_gguf_writer_close(w);
    kq_gguf *g;
    assert_int_equal(kq_gguf_open(&g, target, NULL, NULL), KQ_OK);
    assert_int_equal(kq_gguf_n_values(g), 7);
    assert_int_equal(kq_gguf_n_tensors(g), 0);
    assert_string_equal(kq_gguf_value_at(g, 0)->key.data, "name");
    kq_string s;
    uint64_t u;
    float f;
    bool yes;
    int64_t n;
    assert_int_equal(kq_gguf_get_string(g, "name", &s, NULL), KQ_OK);
    assert_true(s.size == 6 && memcmp(s.data, "second", 6) == 0);
    assert_int_equal(kq_gguf_get_string(g, "empty", &s, NULL), KQ_OK);
    assert_int_equal(s.size, 0);
    assert_true(kq_gguf_get_u64(g, "n", 0, 10, &u, NULL) == KQ_OK && u == 7);
    assert_true(kq_gguf_get_f32(g, "f", &f, NULL) == KQ_OK && f == 0.5f);
    assert_true(kq_gguf_get_bool_or(g, "b", false, &yes, NULL) == KQ_OK && yes);
    assert_true(kq_gguf_element_i64(kq_gguf_find(g, "list"), 0, &n) && n == -1);
    assert_int_equal(kq_gguf_find(g, "none")->count, 0);
    kq_gguf_close(g);
}

static void values_that_do_not_agree(void **state) {
    (void)state;
    kq_gguf_writer *w = writer();
    kq_error e;
    static const uint8_t string[12] = {4, 0, 0, 0, 0, 0, 0, 0, 't', 'e', 'x', 't'}, bad_bool[1] = {2};
    static char long_key[KQ_GGUF_MAX_KEY + 2];
    memset(long_key, 'k', sizeof long_key - 1);
    static const struct { const char *key; int kind, element; uint64_t count; const void *data; size_t size; } bad[] = {
        {"", 4, 4, 1, string, 4},       {long_key, 4, 4, 1, string, 4}, {"k", 13, 13, 1, string, 4},    {"k", -1, -1, 1, string, 4},
        {"k", 4, 4, 1, string, 5},      {"k", 4, 4, 1, string, 0},      {"k", 4, 4, 2, string, 8},      {"k", 4, 5, 1, string, 4},
        {"k", 9, 9, 1, string, 12},     {"k", 9, 4, 4, string, 12},     {"k", 9, 4, UINT64_MAX / 4 + 1, string, 0},
        {"k", 8, 8, 1, string, 11},     {"k", 8, 8, 1, string, 7},      {"k", 8, 8, 1, string, 0},      {"k", 9, 8, 2, string, 12},
        {"k", 9, 8, 0, string, 12},     {"k", 7, 7, 1, bad_bool, 1},    {"k", 9, 7, 1, bad_bool, 1},    {"k", 4, 4, 1, NULL, 4},
        {"general.alignment", 4, 4, 1, string, 4}, /* 4 */ {"general.alignment", 10, 10, 1, string, 8},
    };
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        kq_status status = kq_gguf_writer_value(w, bad[i].key, (kq_gguf_kind)bad[i].kind, (kq_gguf_kind)bad[i].element, bad[i].count,
                                                bad[i].data, bad[i].size, &e);
        if (status != KQ_E_ARGUMENT) print_error("case %zu\n", i);
        assert_int_equal(status, KQ_E_ARGUMENT);
        assert_non_null(strstr(e.text, "key '"));
    }
    assert_int_equal(kq_gguf_writer_value(w, NULL, KQ_GGUF_U8, KQ_GGUF_U8, 1, string, 1, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_string(w, "k", NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_string(w, NULL, "x", &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_value(w, "k", KQ_GGUF_STRING, KQ_GGUF_STRING, 1, string, 12, &e), KQ_OK);
    kq_gguf_writer_close(w);
    assert_int_equal(entries(), 0);
}

static void tensors_that_do_not_fit(void **state) {
    (void)state;
    kq_gguf_writer *w = writer();
    kq_error e;
    static const float data[256];
    char long_name[KQ_GGUF_MAX_NAME + 2] = {0};
    memset(long_name, 'n', sizeof long_name - 1);
    static const struct { const char *says; const char *name; uint32_t codec, n_dims; uint64_t dims[4]; } bad[] = {
        {"0 bytes", "", 0, 1, {1}},              {"n_dims is 0", "t", 0, 0, {1}},     {"n_dims is 5", "t", 0, 5, {1, 1, 1, 1}},
        {"dim 1 is 0", "t", 0, 2, {1, 0}},       {"type is 4", "t", 4, 1, {32}},      {"type is 43", "t", 43, 1, {32}},
        {"dim 0 is 33", "t", 8, 1, {33}},        {"product", "t", 0, 2, {UINT64_C(1) << 32, UINT64_C(1) << 32}},
        {"over 2^64 - 1 bytes", "t", 0, 1, {UINT64_C(1) << 62}},
    };
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        kq_codec codec = (kq_codec)bad[i].codec;
        assert_int_equal(kq_gguf_writer_tensor(w, bad[i].name, codec, bad[i].n_dims, bad[i].dims, data, NULL, NULL, &e), KQ_E_ARGUMENT);
        if (!strstr(e.text, bad[i].says)) fail_msg("%s: %s", bad[i].says, e.text);
    }
    uint64_t one[] = {1};
    producer p = {.size = 4, .piece = 4};
    assert_int_equal(kq_gguf_writer_tensor(w, long_name, KQ_F32, 1, one, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, NULL, KQ_F32, 1, one, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, "t", KQ_F32, 1, NULL, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, "t", KQ_F32, 1, one, NULL, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, "t", KQ_F32, 1, one, data, produce, &p, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_tensor(w, "t", KQ_F32, 1, one, data, NULL, NULL, &e), KQ_OK);
    assert_int_equal(kq_gguf_writer_tensor(w, "t", KQ_F32, 1, one, data, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "tensor 't' was added before");
    assert_int_equal(kq_gguf_writer_finish(w, &e), KQ_OK);
    kq_gguf_writer_close(w);
    kq_gguf *g;
    assert_int_equal(kq_gguf_open(&g, target, NULL, NULL), KQ_OK);
    assert_int_equal(kq_gguf_n_tensors(g), 1);
    kq_gguf_close(g);
}

static void a_file_that_would_be_too_large(void **state) {
    (void)state;
    kq_gguf_writer *w = writer();
    kq_error e;
    producer p = {.size = 1, .piece = 1};
    for (int i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        assert_int_equal(kq_gguf_writer_tensor(w, name, KQ_I8, 1, (uint64_t[]){UINT64_C(1) << 62}, NULL, produce, &p, &e), KQ_OK);
    }
    assert_int_equal(kq_gguf_writer_finish(w, &e), KQ_E_ARGUMENT);
    assert_non_null(strstr(e.text, "2^63 - 1"));
    kq_gguf_writer_close(w);
    assert_int_equal(entries(), 0);
}

/* ---- what goes wrong ---------------------------------------------------------------------------------------------- */

/* Finishes a file with one produced tensor of 8 MB, over a target that says "old". */
static kq_status finish_with(producer p, kq_error *e) {
    assert_int_equal(write_file(target, "old", 3), 0);
    kq_gguf_writer *w = writer();
    uint64_t columns = 8000000;
    assert_int_equal(kq_gguf_writer_u32(w, "k", 1, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_tensor(w, "made", KQ_I8, 1, &columns, NULL, produce, &p, NULL), KQ_OK);
    kq_status status = kq_gguf_writer_finish(w, e);
    if (status) {
        holds(target, "old");
        assert_int_equal(entries(), 1); /* already before the writer is closed */
    }
    kq_gguf_writer_close(w);
    return status;
}

static void produced_tensors_have_their_exact_size(void **state) {
    (void)state;
    kq_error e;
    static const size_t pieces[] = {999, 1 << 20, 3 << 20};
    for (size_t i = 0; i < KQ_COUNT(pieces); i++) {
        assert_int_equal(finish_with((producer){.size = 8000000, .piece = pieces[i]}, &e), KQ_OK);
        kq_gguf *g;
        assert_int_equal(kq_gguf_open(&g, target, NULL, NULL), KQ_OK);
        const uint8_t *data = kq_gguf_tensor_find(g, "made")->data;
        for (size_t k = 0; k < 8000000; k++) assert_int_equal(data[k], (uint8_t)(k % pieces[i] * 31));
        kq_gguf_close(g);
    }
    assert_int_equal(finish_with((producer){.size = 7999999, .piece = 1 << 20}, &e), KQ_E_ARGUMENT);
    assert_string_equal(e.text, "tensor 'made': only 7999999 of its 8000000 bytes were produced");
    assert_int_equal(finish_with((producer){.size = 0, .piece = 1}, &e), KQ_E_ARGUMENT);
    for (int deaf = 0; deaf < 2; deaf++) {
        assert_int_equal(finish_with((producer){.size = 8000001, .piece = 1 << 20, .deaf = deaf}, &e), KQ_E_ARGUMENT);
        assert_string_equal(e.text, "tensor 'made': more than its 8000000 bytes were produced");
    }
    assert_int_equal(finish_with((producer){.size = 8000000, .piece = 1000, .result = KQ_E_CANCELLED}, &e), KQ_E_CANCELLED);
    assert_string_equal(e.text, "the producer's own reason");
}

/* Puts a disk of 2 MB on the folder, seen by this process alone. False where that is not allowed. */
static bool mount_small_disk(void) {
    uid_t user = geteuid();
    if (unshare(user ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS)) return false;
    if (user) {
        char map[32];
        int n = snprintf(map, sizeof map, "0 %u 1", (unsigned)user), fd = open("/proc/self/uid_map", O_WRONLY);
        bool mapped = fd >= 0 && write(fd, map, (size_t)n) == n;
        if (fd >= 0) close(fd);
        if (!mapped) return false;
    }
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("none", folder, "tmpfs", 0, "size=2m") == 0;
}

static void a_full_disk(void **state) {
    (void)state;
    enum { FINE = 0, WRONG = 1, NOT_ALLOWED = 77 };
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!mount_small_disk()) _exit(NOT_ALLOWED);
        kq_error e; /* the producer would stop it, but is not asked */
        kq_status status = finish_with((producer){.size = 8000000, .piece = 500000, .result = KQ_E_CANCELLED}, &e);
        print_message("%s\n", e.text);
        _exit(status == KQ_E_IO && strstr(e.text, "No space left on device") ? FINE : WRONG);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    if (WEXITSTATUS(how) == NOT_ALLOWED) {
        print_message("skipped: this process may not mount a disk\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(how), FINE);
}

/* Room that ends in the middle: a limit on the size of files. */
static void no_room(void **state) {
    (void)state;
    kq_error e;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (int deaf = 0; deaf < 2; deaf++) { /* it is met in the middle */
        kq_status status = finish_with((producer){.size = 8000000, .piece = 500000, .limit = 5000000, .deaf = deaf}, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, KQ_E_IO);
        assert_non_null(strstr(e.text, "cannot write: File too large"));
        assert_string_equal(e.file, target);
    }
    small = before; /* and before anything is produced */
    small.rlim_cur = 1000000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kq_status status = finish_with((producer){.size = 8000000, .piece = 500000, .result = KQ_E_CANCELLED}, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, KQ_E_IO);
    print_message("%s\n", e.text);
}

static void killed_in_the_middle(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kq_error e;
        (void)finish_with((producer){.size = 8000000, .piece = 500000, .kill = true}, &e);
        _exit(0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    holds(target, "old");
    kq_error e;
    assert_int_equal(finish_with((producer){.size = 8000000, .piece = 500000}, &e), KQ_OK); /* and the next run is fine */
    kq_gguf *g;
    assert_int_equal(kq_gguf_open(&g, target, NULL, NULL), KQ_OK);
    kq_gguf_close(g);
}

static void targets_that_cannot_be(void **state) {
    (void)state;
    kq_gguf_writer *w = (kq_gguf_writer *)1;
    kq_error e;
    char path[256];
    snprintf(path, sizeof path, "%s/missing/out.gguf", folder);
    assert_int_equal(kq_gguf_writer_open(&w, path, NULL, &e), KQ_E_IO);
    assert_null(w);
    assert_non_null(strstr(e.text, "No such file or directory"));
    assert_int_equal(kq_gguf_writer_open(&w, folder, NULL, &e), KQ_E_IO);
    assert_non_null(strstr(e.text, "not a regular file"));
    assert_int_equal(kq_gguf_writer_open(&w, "/dev/null", NULL, &e), KQ_E_IO);
    assert_int_equal(kq_gguf_writer_open(&w, "", NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_open(&w, NULL, NULL, &e), KQ_E_ARGUMENT);
    assert_int_equal(kq_gguf_writer_open(NULL, target, NULL, &e), KQ_E_ARGUMENT);
    snprintf(path, sizeof path, "%s/dangling", folder);
    assert_int_equal(symlink("/no/such/place", path), 0);
    assert_int_equal(kq_gguf_writer_open(&w, path, NULL, &e), KQ_E_IO);
    assert_int_equal(unlink(path), 0);
    if (geteuid() != 0) { /* root may write anywhere */
        assert_int_equal(chmod(folder, 0555), 0);
        assert_int_equal(kq_gguf_writer_open(&w, target, NULL, &e), KQ_E_IO);
        assert_non_null(strstr(e.text, "Permission denied"));
    }
    kq_gguf_writer_close(NULL);
    assert_int_equal(entries(), 0);
}

static void a_writer_that_is_closed_unfinished(void **state) {
    (void)state;
    assert_int_equal(write_file(target, "old", 3), 0);
    kq_gguf_writer *w = writer();
    assert_int_equal(kq_gguf_writer_u32(w, "k", 1, NULL), KQ_OK);
    assert_int_equal(entries(), 2);
    kq_gguf_writer_close(w);
    assert_int_equal(entries(), 1);
    holds(target, "old");
}

/* The input is known by any name; written over all the same, an open model keeps its bytes. */
static void the_input_as_output(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    assert_int_equal(write_file(target, b.out.data, b.out.size), 0);
    char link_path[256], symbolic[256], other[256];
    snprintf(link_path, sizeof link_path, "%s/link.gguf", folder);
    snprintf(symbolic, sizeof symbolic, "%s/symbolic.gguf", folder);
    snprintf(other, sizeof other, "%s/other.gguf", folder);
    assert_int_equal(link(target, link_path), 0);
    assert_int_equal(symlink("out.gguf", symbolic), 0);
    assert_int_equal(write_file(other, b.out.data, b.out.size), 0);
    kq_gguf *g;
    assert_int_equal(kq_gguf_open(&g, symbolic, NULL, NULL), KQ_OK);
    assert_true(kq_gguf_is_file(g, target));
    assert_true(kq_gguf_is_file(g, link_path));
    assert_true(kq_gguf_is_file(g, symbolic));
    assert_false(kq_gguf_is_file(g, other));
    assert_false(kq_gguf_is_file(g, "/no/such/file"));
    assert_int_equal(copy(g, symbolic, NULL, NULL), KQ_OK);
    assert_false(kq_gguf_is_file(g, target)); /* a new file has the name now */
    assert_true(kq_gguf_is_file(g, link_path));
    struct stat st;
    assert_int_equal(lstat(symbolic, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    const kq_gguf_tensor *t = kq_gguf_tensor_find(g, "four");
    for (size_t k = 0; k < t->bytes; k++) assert_int_equal(((const uint8_t *)t->data)[k], gguf_data_byte("four", k));
    kq_gguf_close(g);
    assert_int_equal(kq_gguf_open(&g, target, NULL, NULL), KQ_OK);
    kq_gguf_close(g);
    gguf_free(&b);
}

static void names_that_are_nearly_too_long(void **state) {
    (void)state;
    char path[512], name[256] = {0};
    memset(name, 'n', 250);
    memcpy(name + 245, ".gguf", 5);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    kq_gguf_writer *w;
    assert_int_equal(kq_gguf_writer_open(&w, path, NULL, NULL), KQ_OK);
    assert_int_equal(kq_gguf_writer_finish(w, NULL), KQ_OK);
    kq_gguf_writer_close(w);
    assert_int_equal(entries(), 1);
    assert_int_equal(access(path, F_OK), 0);
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */


static void every_allocation_fails_once(void **state) {
    (void)state;
    gguf b;
    gguf_sample(&b, 3);
    kq_gguf *g;
    assert_int_equal(kq_gguf_open_memory(&g, b.out.data, b.out.size, NULL, NULL, NULL), KQ_OK);
    kq_status status = KQ_E_MEMORY;
    size_t n = 0;
    while (status) {
        meter m = {.fail_at = ++n};
        kq_allocator a = meter_allocator(&m);
        kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
        o.allocator = &a;
        status = copy(g, target, &o, NULL);
        assert_true(status == KQ_OK || status == KQ_E_MEMORY);
        assert_int_equal(m.live, 0);
        assert_int_equal(entries(), status ? 0 : 1);
    }
    assert_true(n > 8);
    kq_gguf_close(g);
    gguf_free(&b);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_copy_has_the_same_bytes), IN_FOLDER(a_copy_of_the_default_model), IN_FOLDER(every_way_to_add_a_value),
        IN_FOLDER(values_that_do_not_agree), IN_FOLDER(tensors_that_do_not_fit), IN_FOLDER(a_file_that_would_be_too_large),
        IN_FOLDER(produced_tensors_have_their_exact_size), IN_FOLDER(no_room), IN_FOLDER(a_full_disk), IN_FOLDER(killed_in_the_middle),
        IN_FOLDER(targets_that_cannot_be), IN_FOLDER(a_writer_that_is_closed_unfinished), IN_FOLDER(the_input_as_output),
        IN_FOLDER(names_that_are_nearly_too_long), IN_FOLDER(every_allocation_fails_once),
    };
    return cmocka_run_group_tests_name("gguf_write", tests, NULL, NULL);
}
