/* SPDX-License-Identifier: MIT */
/* The verifier on programs that an input has broken: every four bytes are one change to a small program with every operation. What it
 * lets pass is planned and run, and must touch nothing but its own memory. */
#include "../tests/program_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t large[] = {255, 65535, INT32_MAX, INT32_MIN, UINT32_MAX, (int64_t)1 << 40, INT64_MAX, INT64_MIN};

/* -8 to 119 as they are, then the large ones. */
static int64_t number(uint8_t b) { return b < 128 ? (int64_t)b - 8 : large[b % KQ_COUNT(large)]; }

static void change_slot(kq_slot *s, uint8_t field, int64_t v) {
    switch (field % 10) {
    case 0: s->kind = (uint8_t)v; break;
    case 1: s->type = (uint8_t)v; break;
    case 2: s->n_dims = (uint8_t)v; break;
    case 3: s->codec = (uint32_t)v; break;
    case 4: s->limit = v; break;
    case 5: s->alias = (uint32_t)v; break;
    default: s->dims[field % 10 - 6] = v; break; /* not bytes: the memory behind a weight is only so large, which a loader checks */
    }
}

static void change_step(kq_step *s, uint8_t field, int64_t v) {
    field = (uint8_t)(field % (2 + KQ_MAX_INPUTS + 2 * KQ_MAX_ATTRIBUTES));
    if (field == 0) s->op = (uint16_t)v;
    else if (field == 1) s->out = (uint32_t)v;
    else if (field < 2 + KQ_MAX_INPUTS) s->in[field - 2] = (uint32_t)v;
    else if (field < 2 + KQ_MAX_INPUTS + KQ_MAX_ATTRIBUTES) s->attr[field - 2 - KQ_MAX_INPUTS].i = v;
    else s->attr[field - 2 - KQ_MAX_INPUTS - KQ_MAX_ATTRIBUTES].f = (double)v / 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kit k;
    kit_open(&k);
    kq_program *p = &k.program;
    for (size_t i = 0; i + 4 <= size; i += 4) {
        if (data[i] & 1) change_slot(&p->slots[data[i + 1] % p->n_slots], data[i + 2], number(data[i + 3]));
        else change_step(&p->steps[data[i + 1] % p->n_steps], data[i + 2], number(data[i + 3]));
    }
    kq_error err = {0};
    if (kq_program_verify(p, &err) == KQ_OK) kit_run(p);
    kit_close(&k);
    return 0;
}
