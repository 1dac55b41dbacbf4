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
            *out = (kq_map){.data = p, .size = (uint64_t)st.st_size, .device = (uint64_t)st.st_dev, .inode = (uint64_t)st.st_ino};
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
