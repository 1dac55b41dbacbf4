/* SPDX-License-Identifier: MIT */
/* Mapped files. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

kq_status kq_map_open(kq_map *out, const char *path, kq_error *err) {
    *out = (kq_map){0};
    /* O_NONBLOCK: opening a FIFO must not hang; it means nothing for the regular files that pass the check below */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot open: %s", strerror(errno));
    struct stat st;
    kq_status status = KQ_OK;
    if (fstat(fd, &st)) {
        status = kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot examine: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file");
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            status = kq_fail_at(err, KQ_E_IO, path, KQ_NO_OFFSET, "cannot map: %s", strerror(errno));
        } else {
            *out = (kq_map){.data = p, .size = (uint64_t)st.st_size, .device = (uint64_t)st.st_dev, .inode = (uint64_t)st.st_ino,
                             .changed = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec};
        }
    }
    close(fd);
    return status;
}

void kq_map_close(kq_map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    *map = (kq_map){0};
}

bool kq_map_is(const kq_map *map, const char *path) {
    struct stat st;
    return map->data && stat(path, &st) == 0 && (uint64_t)st.st_dev == map->device && (uint64_t)st.st_ino == map->inode;
}

uint64_t kq_map_stamp(const kq_map *map, uint64_t before) {
    uint64_t words[] = {before, map->size, map->inode, map->changed}, hash = 0;
    for (size_t i = 0; i < KQ_COUNT(words); i++) { /* splitmix64's mixing, chained */
        hash = (hash ^ words[i]) + UINT64_C(0x9e3779b97f4a7c15);
        hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
        hash ^= hash >> 31;
    }
    return hash;
}

void kq_map_release(const kq_map *map, uint64_t offset, uint64_t size) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), first = (offset + page - 1) & ~(page - 1), end = (offset + size) & ~(page - 1);
    if (!map->data || !kq_within(offset, size, map->size) || first >= end) return;
    (void)madvise((void *)(uintptr_t)(map->data + first), (size_t)(end - first), MADV_DONTNEED); /* only advice */
}
