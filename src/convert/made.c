/* SPDX-License-Identifier: MIT */
#include "convert/made.h"

bool kq_made_is_plain(const kq_made *m) {
    bool packed = m->n_pieces == 1 && (m->n_matrices == 1 || m->stride == m->rows * m->unit_in);
    return packed && !m->head && m->from == m->to && !m->plus_one;
}

static float load(kq_codec from, const uint8_t *p, bool plus_one) {
    if (from == KQ_F32) return kq_load_f32(p) + (plus_one ? 1.0f : 0.0f);
    if (from == KQ_BF16) return kq_bf16_to_f32(kq_load_u16(p)) + (plus_one ? 1.0f : 0.0f);
    float x = kq_f16_to_f32(kq_load_u16(p));
    return plus_one ? kq_f16_to_f32(kq_f32_to_f16(x + 1.0f)) : x; /* the converter adds in f16 */
}

static void make_unit(const kq_made *m, const uint8_t *src, uint8_t *dst) {
    if (m->from == m->to && !m->plus_one) {
        memcpy(dst, src, (size_t)m->unit_out);
        return;
    }
    size_t width = kq_codec_describe((uint32_t)m->from)->block_bytes;
    for (size_t i = 0; i < m->unit_out / sizeof(float); i++) {
        float x = load(m->from, src + i * width, m->plus_one);
        memcpy(dst + i * sizeof x, &x, sizeof x);
    }
}

void kq_made_read(const kq_made *m, uint64_t offset, uint64_t size, void *dst) {
    uint8_t *out = dst;
    uint64_t end = (offset + size) / m->unit_out;
    for (uint64_t u = offset / m->unit_out; u < end; u++, out += m->unit_out) {
        uint64_t matrix = u / m->rows, row = u % m->rows;
        if (m->head) row = kq_hf_pairs_to_halves(row, m->head);
        const uint8_t *piece = m->n_pieces == 1 ? m->pieces[0] + matrix * m->stride : m->pieces[matrix];
        make_unit(m, piece + m->first + row * m->unit_in, out);
    }
}
