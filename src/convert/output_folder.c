/* SPDX-License-Identifier: MIT */
/* Folders that appear whole: everything is written to a folder beside, synced, then renamed. One that can be taken up again is NAME.kq-part; what
 * is unfinished in it has names that end in .kq-part too, so that whatever else a broken run left is dropped when the next begins, and
 * whatever of these is left at the end belongs to no output. It is locked, and holds the identity of its work: a run that would make
 * something else begins with an empty one. */
#if defined(__linux__)
#define _GNU_SOURCE /* renameat2 */
#endif
#include "convert/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".kq-part"
#define IDENTITY "identity" PART

static kq_status fail_io(const char *path, const char *what, kq_error *err) {
    return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot %s: %s", what, strerror(errno));
}

static bool is_dot(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }
static bool is_part(const char *name) { return kq_ends_with(name, PART); }

/* ---- what may be replaced -------------------------------------------------------------------------------------------- */

/* What a checkpoint's folder may hold: another file in it is somebody's, and nothing is replaced. */
static bool is_ours(const char *name) {
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                        "special_tokens_map.json", "vocab.json", "merges.txt", "added_tokens.json", "chat_template.jinja",
                                        "chat_template.json", "preprocessor_config.json", "processor_config.json",
                                        ("model" KQ_SAFETENSORS_INDEX), ("model" KQ_SAFETENSORS_SUFFIX)};
    for (size_t i = 0; i < KQ_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) return true;
    }
    return strncmp(name, "model-", 6) == 0 && kq_ends_with(name, KQ_SAFETENSORS_SUFFIX);
}

static bool is_checkpoint(const kq_output_folder *f) {
    kq_hf_config c;
    if (kq_hf_config_open(&c, f->path, &f->allocator, NULL)) return false;
    const char *mode = json_string_value(json_object_get(json_object_get(c.root, "quantization"), "mode"));
    bool made = mode && strcmp(mode, "kquant") == 0;
    kq_hf_config_close(&c);
    return made;
}

/* Nothing, an empty folder, or a checkpoint of ours. */
static kq_status check_target(kq_output_folder *f, bool *there, kq_error *err) {
    struct stat st;
    char other[64] = "";
    size_t n = 0;
    *there = false;
    if (lstat(f->path, &st)) return errno == ENOENT ? KQ_OK : fail_io(f->path, "examine", err);
    DIR *d = S_ISDIR(st.st_mode) ? opendir(f->path) : NULL;
    if (!d) return kq_fail_at(err, KQ_E_IO, f->path, KQ_NO_OFFSET, "it is in the way: it is there, and no folder that can be read");
    for (const struct dirent *e; (e = readdir(d)) && !other[0];) {
        if (is_dot(e->d_name)) continue;
        n++;
        bool plain = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
        if (!plain || !is_ours(e->d_name)) snprintf(other, sizeof other, "%s", kq_show(e->d_name, strlen(e->d_name)).text);
    }
    closedir(d);
    *there = true;
    if (other[0]) return kq_fail_at(err, KQ_E_IO, f->path, KQ_NO_OFFSET, "it is in the way: '%s' in it is no file of a checkpoint", other);
    if (!n || is_checkpoint(f)) return KQ_OK;
    return kq_fail_at(err, KQ_E_IO, f->path, KQ_NO_OFFSET, "it is in the way: a folder that is no checkpoint of this kind");
}

/* ---- the unfinished folder ------------------------------------------------------------------------------------------- */

/* Removes the files, or only the unfinished or the finished ones. False when one stays. */
typedef enum { ALL, FINISHED, UNFINISHED } which;
static bool empty_folder(const char *path, which what) {
    DIR *d = opendir(path);
    bool fine = d != NULL;
    if (!d) return errno == ENOENT;
    for (const struct dirent *e; (e = readdir(d));) {
        if (is_dot(e->d_name) || (what != ALL && is_part(e->d_name) != (what == UNFINISHED))) continue;
        fine = unlinkat(dirfd(d), e->d_name, 0) == 0 && fine;
    }
    closedir(d);
    return fine;
}

static kq_status make_new(kq_output_folder *f, char *path, size_t size, kq_error *err) {
    for (int i = 0; i < 1000; i++) {
        snprintf(path, size, "%s.part-%ld-%d", f->path, (long)getpid(), i);
        if (mkdir(path, 0777) == 0) return KQ_OK;
        if (errno != EEXIST) break;
    }
    return fail_io(f->path, "make a folder beside it", err);
}

/* Opens NAME.kq-part, there or not, for this process alone. */
static kq_status lock_part(kq_output_folder *f, char *path, size_t size, kq_error *err) {
    struct stat st, now;
    snprintf(path, size, "%s" PART, f->path);
    for (int tries = 0; tries < 1000; tries++) {
        if (mkdir(path, 0777) && errno != EEXIST) return fail_io(f->path, "make a folder beside it", err);
        f->lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (f->lock < 0 && errno == ENOENT) continue;
        if (f->lock < 0) return fail_io(path, "open as a folder of unfinished work", err);
        if (flock(f->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
            return kq_fail_at(err, KQ_E_IO, f->path, KQ_NO_OFFSET, "another process is writing it");
        }
        /* the process that had the lock may just have given the folder its name */
        if (fstat(f->lock, &st) == 0 && stat(path, &now) == 0 && now.st_dev == st.st_dev && now.st_ino == st.st_ino) return KQ_OK;
        close(f->lock);
        f->lock = -1;
    }
    return kq_fail_at(err, KQ_E_IO, f->path, KQ_NO_OFFSET, "other processes are writing it");
}

/* Keeps what is of the same work, and nothing else. */
static kq_status take_up(kq_output_folder *f, const char *path, const uint64_t identity[3], bool anew, kq_error *err) {
    uint64_t found[3] = {0};
    int file = openat(f->lock, IDENTITY, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool same = file >= 0 && read(file, found, sizeof found) == (ssize_t)sizeof found && memcmp(found, identity, sizeof found) == 0;
    if (file >= 0) close(file);
    same = same && !anew;
    if (!empty_folder(path, same ? FINISHED : ALL)) return fail_io(path, "empty it of other work", err);
    if (same) return KQ_OK;
    file = openat(f->lock, IDENTITY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) return fail_io(path, "write into it", err);
    same = write(file, identity, sizeof found) == (ssize_t)sizeof found; /* one that is cut is another, so nothing is taken up */
    close(file);
    return same ? KQ_OK : fail_io(path, "write into it", err);
}

kq_status kq_output_folder_open(kq_output_folder *f, const char *path, const uint64_t *identity, bool anew, kq_arena *arena, const kq_allocator *a,
                                kq_error *err) {
    size_t size = strlen(path);
    bool there;
    *f = (kq_output_folder){.allocator = *a, .lock = -1};
    while (size > 1 && path[size - 1] == '/') size--;
    if (size > PATH_MAX - 300) return kq_fail(err, KQ_E_ARGUMENT, "the folder's path has %zu bytes, the limit is %d", size, PATH_MAX - 300);
    f->path = kq_arena_string(arena, path, size);
    f->aside = kq_arena_alloc(arena, size + 64, 1);
    char *part = kq_arena_alloc(arena, size + 48, 1);
    if (!f->path || !f->aside || !part) return kq_fail_memory(err, size + 64, "a path");
    KQ_TRY(check_target(f, &there, err));
    kq_status status = identity ? lock_part(f, part, size + 48, err) : make_new(f, part, size + 48, err);
    if (!status) f->part = part;
    if (!status && identity) status = take_up(f, part, identity, anew, err);
    if (status) kq_output_folder_close(f);
    return status;
}

void kq_output_folder_close(kq_output_folder *f) {
    if (f->part && f->lock < 0) (void)empty_folder(f->part, ALL);
    if (f->part && f->lock >= 0) { /* tensors stay, with the identity of their work, and the folder with them */
        (void)empty_folder(f->part, FINISHED);
        size_t n = 0;
        DIR *d = opendir(f->part);
        for (const struct dirent *e; d && (e = readdir(d));) n += !is_dot(e->d_name) && strcmp(e->d_name, IDENTITY) != 0;
        if (d) closedir(d);
        if (!n) (void)unlinkat(f->lock, IDENTITY, 0);
    }
    if (f->part) (void)rmdir(f->part); /* before the lock goes; one with tensors stays */
    if (f->lock >= 0) close(f->lock);
    f->part = NULL;
    f->lock = -1;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

static kq_status sync_folder(const char *path, kq_error *err) {
    int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return fail_io(path, "open", err);
    bool failed = fsync(file) && errno != EINVAL && errno != ENOTSUP;
    kq_status status = failed ? fail_io(path, "sync", err) : KQ_OK;
    close(file);
    return status;
}

/* The two folders swap their names, so that at no moment there is none. False where that cannot be done. */
static bool rename_two(const char *one, const char *other) {
#ifdef RENAME_EXCHANGE
    return renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0;
#else
    (void)one;
    (void)other;
    return false;
#endif
}

/* An older checkpoint is at f->aside then. */
static kq_status replace(kq_output_folder *f, kq_error *err) {
    /* locked, so that nobody takes it for unfinished work while it has that name */
    int old = open(f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (old >= 0) (void)flock(old, LOCK_EX | LOCK_NB);
    bool aside = rename_two(f->part, f->path) ? rename(f->part, f->aside) == 0 : rename(f->path, f->aside) == 0 && rename(f->part, f->path) == 0;
    kq_status status = aside ? KQ_OK : fail_io(f->path, "replace the older checkpoint", err);
    if (!aside && access(f->path, F_OK)) (void)!rename(f->aside, f->path);
    if (old >= 0) close(old);
    return status;
}

kq_status kq_output_folder_publish(kq_output_folder *f, kq_error *err) {
    bool there;
    char *slash = strrchr(f->path, '/');
    KQ_TRY(check_target(f, &there, err)); /* again: hours may have passed */
    if (!empty_folder(f->part, UNFINISHED)) return fail_io(f->part, "remove the rest of other work", err);
    KQ_TRY(sync_folder(f->part, err));
    snprintf(f->aside, strlen(f->path) + 64, "%s.old-%ld", f->path, (long)getpid());
    if (there) KQ_TRY(replace(f, err));
    else if (rename(f->part, f->path)) return fail_io(f->path, "rename into place", err);
    f->part = NULL;
    if (slash) *slash = 0;
    kq_status status = sync_folder(!slash ? "." : *f->path ? f->path : "/", err);
    if (slash) *slash = '/';
    if (status || !there || (empty_folder(f->aside, ALL) && rmdir(f->aside) == 0)) return status;
    return fail_io(f->aside, "remove the older checkpoint", err);
}
