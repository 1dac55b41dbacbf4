/* SPDX-License-Identifier: MIT */
/* An output file that appears under its name only when it is complete: the bytes are collected in a file beside the target,
 * which no name ending in .gguf or .safetensors shows; only a complete one, synced, is renamed. So a reader, a full disk or a
 * kill in the middle never meets half a file. */
#ifndef KQ_FILE_OUTPUT_H
#define KQ_FILE_OUTPUT_H

#include "file/file.h"

typedef struct kq_output {
    kq_allocator allocator;
    char *path;       /* the target, symbolic links followed */
    char *temporary;  /* NULL when there is none to remove */
    int file, directory;
    uint8_t *buffer;
    size_t used;
    kq_string name;   /* of what is being produced */
    uint64_t bytes, left; /* its size, and what it still lacks */
    kq_status status; /* the first failure to write: it sticks, even when a producer ignores it */
    kq_error error;
} kq_output;

/* Follows a symbolic link, refuses what is no regular file, and makes the temporary file. Paths go to the arena. After a failure
 * there is nothing to close. */
kq_status kq_output_open(kq_output *o, const char *path, kq_arena *arena, const kq_allocator *a, kq_error *err);
/* Takes the space on the disk, so that a full one is met before hours of work and not after, and a buffer. Before the first write. */
kq_status kq_output_reserve(kq_output *o, uint64_t total, kq_error *err);

/* A failure sticks in o->status; kq_output_complete reports it. */
kq_status kq_output_write(kq_output *o, const void *data, size_t size);
kq_status kq_output_zeros(kq_output *o, uint64_t n);
/* Writes exactly `bytes` bytes of the tensor `name`: those at `data`, or when that is NULL those that `produce` makes. */
kq_status kq_output_tensor(kq_output *o, kq_string name, uint64_t bytes, const void *data, kq_produce produce, void *ctx, kq_error *err);

/* Everything is on the disk, but still under the temporary name. */
kq_status kq_output_complete(kq_output *o, kq_error *err);
/* Gives a complete file its name. */
kq_status kq_output_publish(kq_output *o, kq_error *err);
/* Leaves no trace of an unfinished file. A second call, and one on zeroed bytes, does nothing. */
void kq_output_close(kq_output *o);

#endif
