/* SPDX-License-Identifier: MIT */
/* A folder that appears under its name only when it is complete. */
#ifndef KQ_CONVERT_OUTPUT_FOLDER_H
#define KQ_CONVERT_OUTPUT_FOLDER_H

#include "convert/convert.h"

#include "file/safetensors.h"

typedef struct kq_output_folder {
    kq_allocator allocator;
    char *path, *aside;
    char *part; /* where everything is written; NULL: nothing to remove */
    int lock;   /* of one that can be taken up again, else -1 */
} kq_output_folder;

/* Checks that nothing but an older checkpoint is in the way, and makes the folder beside. With an identity, what an earlier run of the same
 * one left unfinished there (files NAME.kq-part) stays, unless `anew`. Paths go to the arena. After a failure there is nothing to close. */
kq_status kq_output_folder_open(kq_output_folder *f, const char *path, const uint64_t *identity /* [3], or NULL */, bool anew, kq_arena *arena,
                                const kq_allocator *a, kq_error *err);
/* Gives it its name. */
kq_status kq_output_folder_publish(kq_output_folder *f, kq_error *err);
/* Leaves no trace of an unfinished folder, unless unfinished files in it are to be taken up again. */
void kq_output_folder_close(kq_output_folder *f);

#endif
