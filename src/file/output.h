/* SPDX-License-Identifier: MIT */
/* An output file that appears under its name only when it is complete: the bytes are collected in a file beside the target,
 * which no name ending in .gguf or .safetensors shows; only a complete one, synced, is renamed. So a reader, a full disk or a
 * kill in the middle never meets half a file.
 *
 * An output may be resumable: what a run that was broken off left is then taken up by the next (resume.c). */
#ifndef KQ_FILE_OUTPUT_H
#define KQ_FILE_OUTPUT_H

#include "file/file.h"

enum { KQ_OUTPUT_BUFFER = 1 << 20 };

/* How to take up a run that was broken off. Lent until the output is closed. */
typedef struct kq_resume {
    uint64_t identity[2]; /* a hash of everything that decides the bytes of the tensors */
    bool anew;            /* whatever an earlier run left is dropped */
    /* A tensor was finished: what is to be known of it if it is kept one day. `item` is the ctx of its producer. */
    void (*note)(void *item, double note[2]);
    /* An earlier run had finished a tensor, and its bytes are whole: it is not produced again. A failure ends the work. */
    kq_status (*keep)(void *item, const double note[2], kq_error *err);
} kq_resume;

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
    /* of a resumable one: */
    const kq_resume *resume; /* else NULL */
    struct kq_journal *journal;
    bool keep;        /* the unfinished file stays */
} kq_output;

/* Follows a symbolic link, refuses what is no regular file, and makes the temporary file. Paths go to the arena. After a failure
 * there is nothing to close. */
kq_status kq_output_open(kq_output *o, const char *path, kq_arena *arena, const kq_allocator *a, kq_error *err);
/* The same, to be taken up again. KQ_E_IO, also when another process is at it. */
kq_status kq_output_open_resumable(kq_output *o, const char *path, const kq_resume *resume, kq_arena *arena, const kq_allocator *a,
                                   kq_error *err);
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
/* The work ended with `status`: whether what there is of a resumable file will be of use. It will when somebody stopped the work, or
 * the machine failed; not when the data is at fault. */
void kq_output_broken_off(kq_output *o, kq_status status);
/* Leaves no trace of an unfinished file, unless it is to be taken up again. A second call, and one on zeroed bytes, does nothing. */
void kq_output_close(kq_output *o);

/* ---- the journal of a resumable output (resume.c) ------------------------------------------------------------------- */

typedef struct kq_journal kq_journal;
kq_status kq_journal_open(kq_output *o, kq_error *err);
void kq_journal_close(kq_output *o);
void kq_journal_total(kq_output *o, uint64_t total); /* bytes of the output, known before the first is written */
uint64_t kq_journal_total_of(const kq_output *o);
void kq_journal_header(kq_output *o, const void *data, size_t size); /* bytes before the first tensor */
/* Of the next tensor: *kept when its bytes are there already. */
kq_status kq_journal_next(kq_output *o, bool *kept, double note[2], kq_error *err);
void kq_journal_bytes(kq_output *o, const void *data, size_t size);  /* of the tensor, when it was not kept */
void kq_journal_done(kq_output *o, const double note[2]);            /* all of its bytes are written */
/* Whether a next run could use what there is; `before`: whether this one found something. */
bool kq_journal_is_of_use(const kq_output *o, bool before);

/* ---- what writers do with it ----------------------------------------------------------------------------------------- */

/* kq_gguf_writer_open for a run that can be taken up again. */
kq_status kq_gguf_writer_open_resumable(kq_gguf_writer **out, const char *path, const kq_gguf_options *options, const kq_resume *resume,
                                        kq_error *err);
/* The same of kq_safetensors_writer_open: each shard is taken up by itself. What a run that ends between the names of two of them had
 * finished is made again. */
kq_status kq_safetensors_writer_open_resumable(kq_safetensors_writer **out, const char *path, const kq_safetensors_options *options,
                                               const kq_resume *resume, kq_error *err);

#endif
