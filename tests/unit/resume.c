/* SPDX-License-Identifier: MIT */
/* Outputs that can be taken up again: whatever an earlier run left, and whatever became of it since, the file that comes out is the one
 * that a single run makes; what is intact is not made twice. */
#include "folder.h"
#include "gguf_build.h"
#include "meter.h"

#include "file/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

enum { TENSORS = 5 };
static const uint64_t sizes[TENSORS] = {100, 3000000, 1, 5000, 1048576};
static char folder[64], target[128], part[160];

static int make_folder(void **state) {
    (void)state;
    if (folder_make(folder, "resume")) return -1;
    snprintf(target, sizeof target, "%s/out.gguf", folder);
    snprintf(part, sizeof part, "%s.kq-part", target);
    return 0;
}
static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}
static bool exists(const char *path) { return access(path, F_OK) == 0; }

/* ---- a run ----------------------------------------------------------------------------------------------------------- */

typedef struct run {
    int made[TENSORS], kept[TENSORS];
    int stop_at;       /* this tensor fails after half of its bytes; -1: none */
    kq_status stop;    /* how; KQ_OK: by SIGKILL */
    uint64_t identity;
    bool anew;
    uint32_t key;      /* in the header */
    const kq_allocator *allocator;
    kq_error error;
} run;
typedef struct item {
    run *r;
    int index;
} item;

static kq_status produce(void *ctx, kq_status (*put)(void *sink, const void *data, size_t size, kq_error *err), void *sink, kq_error *err) {
    const item *it = ctx;
    uint8_t piece[4096];
    it->r->made[it->index]++;
    for (uint64_t done = 0, n; done < sizes[it->index]; done += n) {
        if (it->index == it->r->stop_at && done >= sizes[it->index] / 2) {
            if (!it->r->stop) raise(SIGKILL);
            return kq_fail(err, it->r->stop, "stopped");
        }
        n = KQ_MIN(KQ_MIN(sizeof piece, sizes[it->index] / 3 + 1), sizes[it->index] - done);
        for (size_t i = 0; i < n; i++) piece[i] = (uint8_t)((done + i) * 7 + (uint64_t)it->index);
        KQ_TRY(put(sink, piece, (size_t)n, err));
    }
    return KQ_OK;
}
static void note(void *ctx, double out[2]) {
    const item *it = ctx;
    out[0] = it->index + 0.5;
    out[1] = -1;
}
static kq_status keep(void *ctx, const double in[2], kq_error *err) {
    const item *it = ctx;
    (void)err;
    it->r->kept[it->index]++;
    assert_true(in[0] == it->index + 0.5 && in[1] == -1);
    return KQ_OK;
}

static kq_status go(run *r) {
    kq_resume resume = {.identity = {r->identity, 1}, .anew = r->anew, .note = note, .keep = keep};
    kq_gguf_options o = KQ_OPTIONS_INIT(kq_gguf_options);
    kq_gguf_writer *w;
    item items[TENSORS];
    o.allocator = r->allocator;
    KQ_TRY(kq_gguf_writer_open_resumable(&w, target, &o, &resume, &r->error));
    kq_status status = kq_gguf_writer_u32(w, "key", r->key, &r->error);
    for (int i = 0; i < TENSORS && !status; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        items[i] = (item){r, i};
        status = kq_gguf_writer_tensor(w, name, KQ_I8, 1, &sizes[i], NULL, produce, &items[i], &r->error);
    }
    if (!status) status = kq_gguf_writer_finish(w, &r->error);
    kq_gguf_writer_close(w);
    return status;
}
static run fresh(void) { return (run){.stop_at = -1, .identity = 42}; }

static bytes whole(void) { /* of a single run */
    run r = fresh();
    r.anew = true;
    assert_int_equal(go(&r), KQ_OK);
    bytes b = read_file(target);
    unlink(target);
    return b;
}
static void stopped_at(int i, kq_status how) {
    run r = fresh();
    r.anew = true;
    r.stop_at = i;
    r.stop = how;
    assert_int_equal(go(&r), how);
}
static void comes_out(run *r, const bytes *expected) {
    if (go(r)) fail_msg("%s: %s", r->error.file, r->error.text);
    bytes b = read_file(target);
    assert_int_equal(b.size, expected->size);
    assert_memory_equal(b.data, expected->data, b.size);
    bytes_free(&b);
    assert_false(exists(part));
    unlink(target);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------ */

static void is_taken_up_where_it_stopped(void **state) {
    (void)state;
    bytes expected = whole();
    for (int at = 0; at < TENSORS; at++) {
        stopped_at(at, KQ_E_CANCELLED);
        assert_false(exists(target));
        assert_int_equal(exists(part), at > 0); /* with nothing finished there is nothing to keep */
        run r = fresh();
        comes_out(&r, &expected);
        for (int i = 0; i < TENSORS; i++) {
            assert_int_equal(r.kept[i], i < at);
            assert_int_equal(r.made[i], i >= at);
        }
    }
    bytes_free(&expected);
}

static void again_and_again(void **state) {
    (void)state;
    bytes expected = whole();
    for (int at = 1; at < TENSORS; at++) {
        run r = fresh();
        r.stop_at = at;
        r.stop = at % 2 ? KQ_E_IO : KQ_E_MEMORY;
        assert_int_equal(go(&r), r.stop);
        assert_int_equal(r.made[at - 1], 1);
        if (at > 1) assert_int_equal(r.kept[at - 2], 1);
    }
    run r = fresh();
    comes_out(&r, &expected);
    assert_int_equal(r.made[TENSORS - 1], 1);
    assert_int_equal(r.made[TENSORS - 2], 0);
    bytes_free(&expected);
}

static void killed(void **state) {
    (void)state;
    bytes expected = whole();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run r = fresh();
        r.stop_at = 3;
        (void)go(&r);
        _exit(0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    assert_true(exists(part) && !exists(target));
    run r = fresh();
    comes_out(&r, &expected);
    assert_true(r.kept[2] == 1 && r.made[2] == 0 && r.made[3] == 1);
    bytes_free(&expected);
}

static void bad_data_leaves_nothing(void **state) {
    (void)state;
    static const kq_status bad[] = {KQ_E_FORMAT, KQ_E_MODEL, KQ_E_ARGUMENT, KQ_E_UNSUPPORTED};
    for (size_t i = 0; i < KQ_COUNT(bad); i++) {
        stopped_at(3, bad[i]);
        assert_false(exists(part));
    }
}

static void other_work_begins_anew(void **state) {
    (void)state;
    bytes expected = whole();
    for (int what = 0; what < 3; what++) {
        stopped_at(3, KQ_E_CANCELLED);
        run r = fresh();
        if (what == 0) r.identity = 43;
        if (what == 1) r.key = 9;
        if (what == 2) r.anew = true;
        r.stop_at = 1;
        r.stop = KQ_E_CANCELLED;
        assert_int_equal(go(&r), KQ_E_CANCELLED);
        assert_int_equal(r.kept[0], 0);
        run again = fresh(); /* what is there now is not the first work's */
        comes_out(&again, &expected);
        assert_int_equal(again.kept[0], what == 2);
        assert_int_equal(again.kept[1], 0);
    }
    bytes_free(&expected);
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* The part file is outside data as any other. */
static void whatever_became_of_it(void **state) {
    (void)state;
    bytes expected = whole();
    stopped_at(4, KQ_E_CANCELLED);
    bytes left = read_file(part);
    assert_true(left.size > expected.size);
    uint32_t seed = 7;
    for (int round = 0; round < 60; round++) {
        bytes b = {0};
        put_raw(&b, left.data, left.size);
        size_t journal = left.size - expected.size, size = b.size;
        int changes = 1 + (int)(next_random(&seed) % 4);
        for (int i = 0; i < changes; i++) {
            size_t at = next_random(&seed) % 2 ? expected.size + next_random(&seed) % journal : next_random(&seed) % size;
            b.data[at] ^= (uint8_t)(1 + next_random(&seed) % 255);
        }
        if (round % 3 == 1) size = round % 2 ? expected.size + next_random(&seed) % journal : next_random(&seed) % size;
        if (round % 7 == 2) put_raw(&b, b.data, 5000), size = b.size; /* longer */
        assert_int_equal(write_file(part, b.data, size), 0);
        run r = fresh();
        comes_out(&r, &expected);
        bytes_free(&b);
    }
    /* a byte of the third tensor: the two before it are kept, it and those behind are made */
    bytes b = {0};
    put_raw(&b, left.data, left.size);
    size_t third = expected.size - 1048576 - 5024 - 32; /* its neighbours' bytes are rounded up to 32 */
    assert_int_equal(b.data[third], 2);
    b.data[third] ^= 1;
    assert_int_equal(write_file(part, b.data, b.size), 0);
    run r = fresh();
    comes_out(&r, &expected);
    for (int i = 0; i < TENSORS; i++) assert_int_equal(r.kept[i], i < 2);
    bytes_free(&b);
    bytes_free(&left);
    bytes_free(&expected);
}

static void what_is_no_file_is_left_alone(void **state) {
    (void)state;
    char other[160];
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(write_file(other, "precious", 8), 0);
    assert_int_equal(symlink(other, part), 0);
    run r = fresh();
    assert_int_equal(go(&r), KQ_E_IO);
    unlink(part);
    assert_int_equal(mkfifo(part, 0600), 0);
    assert_int_equal(go(&r), KQ_E_IO);
    unlink(part);
    assert_int_equal(mkdir(part, 0700), 0);
    assert_int_equal(go(&r), KQ_E_IO);
    rmdir(part);
    bytes b = read_file(other);
    assert_int_equal(b.size, 8);
    bytes_free(&b);
    unlink(other);
}

static void one_at_a_time(void **state) {
    (void)state;
    stopped_at(2, KQ_E_CANCELLED);
    int file = open(part, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(flock(file, LOCK_EX), 0);
    run r = fresh();
    assert_int_equal(go(&r), KQ_E_IO);
    assert_string_equal(r.error.text, "another process is writing it");
    assert_true(exists(part));
    close(file);
    assert_int_equal(go(&r), KQ_OK);
    assert_int_equal(r.kept[1], 1);
    unlink(target);
}

/* ---- memory that fails ----------------------------------------------------------------------------------------------- */

static void without_memory(void **state) {
    (void)state;
    bytes expected = whole();
    stopped_at(3, KQ_E_CANCELLED);
    int n = 0;
    for (kq_status status = KQ_E_MEMORY; status; n++) {
        meter m = meter_of((size_t)n);
        const kq_allocator a = meter_allocator(&m);
        run r = fresh();
        r.allocator = &a;
        r.stop_at = 4;
        r.stop = KQ_E_CANCELLED;
        status = go(&r);
        assert_true(status == KQ_E_MEMORY || status == KQ_E_CANCELLED);
        assert_int_equal(m.live, 0);
        assert_true(exists(part)); /* what there was is not lost */
        if (status == KQ_E_CANCELLED) break;
    }
    assert_true(n > 5);
    run r = fresh();
    comes_out(&r, &expected);
    assert_int_equal(r.kept[3], 1);
    bytes_free(&expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_taken_up_where_it_stopped), cmocka_unit_test(again_and_again), cmocka_unit_test(killed),
        cmocka_unit_test(bad_data_leaves_nothing), cmocka_unit_test(other_work_begins_anew), cmocka_unit_test(whatever_became_of_it),
        cmocka_unit_test(what_is_no_file_is_left_alone), cmocka_unit_test(one_at_a_time), cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
