/* SPDX-License-Identifier: MIT */
/* The four kernels of a variant from its score and its blend, whose last argument says that the cache holds f16, not f32. They are inlined, so each
 * kernel has one of the two. Before including, at a file's end: KERNEL(op) spells the kernels' names. */
void KERNEL(score_f32)(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s, size_t s_pitch) {
    score(q, m, k, k_pitch, n, width, scale, s, s_pitch, false);
}
void KERNEL(score_f16)(const float *const *q, size_t m, const void *k, size_t k_pitch, size_t n, size_t width, float scale, float *s, size_t s_pitch) {
    score(q, m, k, k_pitch, n, width, scale, s, s_pitch, true);
}
void KERNEL(blend_f32)(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc, size_t acc_pitch) {
    blend(e, e_pitch, m, v, v_pitch, n, width, acc, acc_pitch, false);
}
void KERNEL(blend_f16)(const float *e, size_t e_pitch, size_t m, const void *v, size_t v_pitch, size_t n, size_t width, float *acc, size_t acc_pitch) {
    blend(e, e_pitch, m, v, v_pitch, n, width, acc, acc_pitch, true);
}
