/* SPDX-License-Identifier: MIT */
/* What the reader and the writer of importance matrices share. */
#ifndef KQ_FILE_IMATRIX_H
#define KQ_FILE_IMATRIX_H

#include "file/file.h"

struct kq_imatrix {
    kq_allocator allocator;
    kq_arena arena; /* names and values */
    kq_imatrix_form form;
    kq_imatrix_entry *entries;
    size_t n_entries, entries_capacity;
    kq_strmap names;
    const char **datasets;
    size_t n_datasets, datasets_capacity;
    uint32_t chunks, chunk_size;
};

#endif
