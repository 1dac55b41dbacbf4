/* SPDX-License-Identifier: MIT */
/* Tensors of a folder that are made of the files' tensors, row by row. Every transformation of a conversion is one of rows (another order, a
 * part of them, one expert's behind another's) or of single elements (wider, plus 1), so any rows can be made without the others. */
#ifndef KQ_CONVERT_MADE_H
#define KQ_CONVERT_MADE_H

#include "convert/convert.h"

/* One tensor: `n_matrices` times `rows` units, where a unit is a row, or an element of a vector. */
typedef struct kq_made {
    const uint8_t *const *pieces; /* one a matrix; or one in all, and then matrices are `stride` bytes apart */
    size_t n_pieces;
    uint64_t n_matrices, rows;
    uint64_t first;               /* byte of a matrix where its rows begin */
    uint64_t stride;
    uint64_t unit_in, unit_out;   /* bytes */
    uint64_t head;                /* rows of a head whose halves become pairs; 0: rows stay where they are */
    kq_codec from, to;            /* the same, or floats and f32 */
    bool plus_one;                /* in the precision of `from` when that is f16, else in f32 */
} kq_made;

/* Whether the bytes lie in the file as they are needed, one behind another. */
bool kq_made_is_plain(const kq_made *m);
/* Bytes [offset, offset + size) of the result, whole units and within it. */
void kq_made_read(const kq_made *m, uint64_t offset, uint64_t size, void *dst);

#endif
