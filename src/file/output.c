/* SPDX-License-Identifier: MIT */
/* Output files that are whole or not there: temporary file beside the target, fsync, rename. */
#if defined(__linux__)
#define _GNU_SOURCE /* fallocate */
#endif
#include "file/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef unsigned long long ull; /* for printf */

enum { BUFFER = KQ_OUTPUT_BUFFER, MAX_PART_NAMES = 1000 };

static kq_status fail_io(const char *path, const char *what, kq_error *err) {
    return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot %s: %s", what, strerror(errno));
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */

/* Follows symbolic links to the file that is really meant, and refuses what is no regular file. */
static kq_status resolve(kq_output *o, const char *path, kq_arena *arena, kq_error *err) {
    char real[PATH_MAX];
    struct stat st;
    o->path = kq_arena_string(arena, path, strlen(path));
    if (!o->path) return kq_fail_memory(err, strlen(path) + 1, "a path");
    if (lstat(path, &st)) return errno == ENOENT ? KQ_OK : fail_io(path, "examine", err);
    if (S_ISLNK(st.st_mode)) {
        if (!realpath(path, real) || stat(real, &st)) return fail_io(path, "follow the symbolic link", err);
        o->path = kq_arena_string(arena, real, strlen(real));
        if (!o->path) return kq_fail_memory(err, strlen(real) + 1, "a path");
    }
    if (!S_ISREG(st.st_mode)) {
        return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot write: it exists and is not a regular file");
    }
    return KQ_OK;
}

/* Opens DIRECTORY/NAME.kq-part, whatever an earlier run left in it, for this process alone. */
static kq_status open_resumable(kq_output *o, const char *temporary, kq_error *err) {
    struct stat st, now;
    for (int tries = 0; tries < MAX_PART_NAMES; tries++) {
        /* not through a link, and not hanging on a FIFO: whoever may write here is not trusted more than that */
        o->file = open(temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (o->file < 0) return fail_io(o->path, "open the unfinished file beside it", err);
        if (fstat(o->file, &st)) return fail_io(temporary, "examine", err);
        if (!S_ISREG(st.st_mode)) {
            return kq_fail_at(err, KQ_E_IO, temporary, KQ_NO_OFFSET, "it exists, where unfinished work should be, and is not a regular file");
        }
        /* some file systems cannot lock; then nobody is kept away */
        if (flock(o->file, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
            return kq_fail_at(err, KQ_E_IO, o->path, KQ_NO_OFFSET, "another process is writing it");
        }
        /* the process that had the lock may just have given the file its name */
        if (stat(temporary, &now) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino) {
            o->keep = st.st_size > 0; /* until it turns out to be of no use */
            return KQ_OK;
        }
        close(o->file);
        o->file = -1;
    }
    return kq_fail_at(err, KQ_E_IO, o->path, KQ_NO_OFFSET, "other processes are writing it");
}

/* Opens DIRECTORY/NAME.part-PID-N, which nobody had. */
static kq_status make_temporary(kq_output *o, const char *directory, const char *name, char *temporary, size_t size, kq_error *err) {
    for (int i = 0; i < MAX_PART_NAMES; i++) {
        /* a name that is nearly too long for a file system is cut */
        snprintf(temporary, size, "%s/%.200s.part-%ld-%d", directory, name, (long)getpid(), i);
        o->file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->file >= 0) return KQ_OK;
        if (errno != EEXIST) break;
    }
    return fail_io(o->path, "create a file beside it", err);
}

static kq_status open_files(kq_output *o, kq_arena *arena, kq_error *err) {
    const char *slash = strrchr(o->path, '/'), *name = slash ? slash + 1 : o->path;
    size_t length = slash ? (size_t)(slash - o->path) : 0, size = strlen(o->path) + 64;
    char *directory = slash ? kq_arena_string(arena, o->path, length ? length : 1) : kq_arena_string(arena, ".", 1);
    char *temporary = kq_arena_alloc(arena, size, 1);
    if (!directory || !temporary) return kq_fail_memory(err, size, "a path");
    o->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->directory < 0) return fail_io(o->path, "open its directory", err);
    if (o->resume) {
        snprintf(temporary, size, "%s/%.200s.kq-part", directory, name);
        KQ_TRY(open_resumable(o, temporary, err));
        o->temporary = temporary;
        return kq_journal_open(o, err);
    }
    KQ_TRY(make_temporary(o, directory, name, temporary, size, err));
    o->temporary = temporary;
    return KQ_OK;
}

static kq_status open_output(kq_output *o, const char *path, kq_arena *arena, kq_error *err) {
    kq_status status = resolve(o, path, arena, err);
    if (!status) status = open_files(o, arena, err);
    if (status) kq_output_close(o);
    return status;
}

kq_status kq_output_open(kq_output *o, const char *path, kq_arena *arena, const kq_allocator *a, kq_error *err) {
    *o = (kq_output){.allocator = *a, .file = -1, .directory = -1};
    return open_output(o, path, arena, err);
}

kq_status kq_output_open_resumable(kq_output *o, const char *path, const kq_resume *resume, kq_arena *arena, const kq_allocator *a,
                                   kq_error *err) {
    *o = (kq_output){.allocator = *a, .file = -1, .directory = -1, .resume = resume};
    return open_output(o, path, arena, err);
}

void kq_output_broken_off(kq_output *o, kq_status status) {
    if (!o->path || !o->journal) return;
    bool machine = status == KQ_E_CANCELLED || status == KQ_E_MEMORY || status == KQ_E_SYSTEM || status == KQ_E_IO;
    o->keep = machine && kq_journal_is_of_use(o, o->keep);
}

void kq_output_close(kq_output *o) {
    if (!o->path) return;
    if (o->temporary && !o->keep) unlink(o->temporary); /* before the lock goes: afterwards it may be another's */
    if (o->file >= 0) close(o->file);
    if (o->directory >= 0) close(o->directory);
    kq_journal_close(o);
    kq_free(&o->allocator, o->buffer);
    *o = (kq_output){.file = -1, .directory = -1};
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

kq_status kq_output_reserve(kq_output *o, uint64_t total, kq_error *err) {
    if (total > INT64_MAX) return kq_fail_at(err, KQ_E_ARGUMENT, o->path, KQ_NO_OFFSET, "the file would have more than 2^63 - 1 bytes");
#if defined(__linux__)
    /* file systems that cannot do without it */
    if (total && fallocate(o->file, 0, 0, (off_t)total) && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR) {
        return kq_fail_at(err, KQ_E_IO, o->path, KQ_NO_OFFSET, "cannot take %llu bytes on the disk: %s", (ull)total, strerror(errno));
    }
#endif
    if (o->journal) kq_journal_total(o, total);
    o->buffer = kq_alloc_raw(&o->allocator, BUFFER, 1);
    return o->buffer ? KQ_OK : kq_fail_memory(err, BUFFER, "a write buffer");
}

static kq_status flush_bytes(kq_output *o, const uint8_t *data, size_t size) {
    while (size && !o->status) {
        ssize_t n = write(o->file, data, KQ_MIN(size, (size_t)1 << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = EIO; /* a regular file never takes nothing */
            o->status = fail_io(o->path, "write", &o->error);
            break;
        }
        data += n;
        size -= (size_t)n;
    }
    return o->status;
}

static kq_status flush(kq_output *o) {
    size_t used = o->used;
    o->used = 0;
    return flush_bytes(o, o->buffer, used);
}

kq_status kq_output_write(kq_output *o, const void *data, size_t size) {
    if (o->status) return o->status;
    if (o->journal) kq_journal_header(o, data, size);
    if (size > BUFFER - o->used) KQ_TRY(flush(o));
    if (size >= BUFFER) return flush_bytes(o, data, size);
    if (size) memcpy(o->buffer + o->used, data, size);
    o->used += size;
    return KQ_OK;
}

kq_status kq_output_zeros(kq_output *o, uint64_t n) {
    static const uint8_t zeros[4096];
    for (; n; n -= KQ_MIN(n, sizeof zeros)) KQ_TRY(kq_output_write(o, zeros, (size_t)KQ_MIN(n, sizeof zeros)));
    return KQ_OK;
}

static kq_status put(void *sink, const void *data, size_t size, kq_error *err) {
    kq_output *o = sink;
    if (!o->status && size > o->left) {
        o->status = kq_fail_at(&o->error, KQ_E_ARGUMENT, o->path, KQ_NO_OFFSET, "tensor '%s': more than its %llu bytes were produced",
                               KQ_SHOW(o->name), (ull)o->bytes);
    }
    if (!o->status) {
        o->left -= size;
        if (o->journal) kq_journal_bytes(o, data, size);
        (void)kq_output_write(o, data, size);
    }
    if (o->status && err) *err = o->error;
    return o->status;
}

static kq_status make_tensor(kq_output *o, const void *data, kq_produce produce, void *ctx, kq_error *err) {
    o->left = o->bytes;
    if (!produce) return put(o, data, (size_t)o->bytes, err);
    kq_status status = produce(ctx, put, o, err);
    if (o->status) { /* whatever the producer made of it */
        if (err) *err = o->error;
        return o->status;
    }
    if (!status && o->left) {
        status = kq_fail_at(err, KQ_E_ARGUMENT, o->path, KQ_NO_OFFSET, "tensor '%s': only %llu of its %llu bytes were produced",
                            KQ_SHOW(o->name), (ull)(o->bytes - o->left), (ull)o->bytes);
    }
    return status;
}

/* What is in the buffer goes out. */
static kq_status settle(kq_output *o, kq_error *err) {
    kq_status status = flush(o);
    if (status && err) *err = o->error;
    return status;
}

kq_status kq_output_tensor(kq_output *o, kq_string name, uint64_t bytes, const void *data, kq_produce produce, void *ctx, kq_error *err) {
    o->name = name;
    o->bytes = bytes;
    if (!o->journal) return make_tensor(o, data, produce, ctx, err);
    bool kept;
    double note[2] = {0, 0};
    KQ_TRY(settle(o, err));
    KQ_TRY(kq_journal_next(o, &kept, note, err));
    if (kept) return ctx ? o->resume->keep(ctx, note, err) : KQ_OK;
    KQ_TRY(make_tensor(o, data, produce, ctx, err));
    KQ_TRY(settle(o, err));
    if (ctx) o->resume->note(ctx, note);
    kq_journal_done(o, note);
    return KQ_OK;
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

kq_status kq_output_complete(kq_output *o, kq_error *err) {
    kq_status status = settle(o, err);
    if (!status && fsync(o->file)) status = fail_io(o->path, "sync", err);
    if (o->journal) return status; /* which goes last: until then the work can be taken up */
    int file = o->file;
    o->file = -1;
    if (close(file) && !status) status = fail_io(o->path, "close", err);
    return status;
}

kq_status kq_output_publish(kq_output *o, kq_error *err) {
    if (o->journal && (ftruncate(o->file, (off_t)kq_journal_total_of(o)) || fsync(o->file))) return fail_io(o->path, "sync", err);
    if (rename(o->temporary, o->path)) return fail_io(o->path, "rename into place", err);
    o->temporary = NULL; /* it has its name */
    /* so that the name survives a power cut; some file systems cannot sync a directory and need not */
    if (fsync(o->directory) && errno != EINVAL && errno != ENOTSUP) return fail_io(o->path, "sync its directory", err);
    return KQ_OK;
}
