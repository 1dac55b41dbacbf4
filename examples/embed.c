/* SPDX-License-Identifier: MIT */
/* kq_embed: rows of a packed table by index, as bf16. */
#include <kquant/kquant.h>

#include <stdio.h>
#include <string.h>

enum { TOKENS = 5, WIDTH = 64, WANTED = 3 };

int main(void) {
    static float table[TOKENS * WIDTH];
    static unsigned char packed[TOKENS * 2 * 34]; /* a block of q8_0: 32 weights in 34 bytes */
    static uint16_t rows[WANTED * WIDTH];
    static const int32_t ids[WANTED] = {4, 0, 4};
    for (int i = 0; i < TOKENS * WIDTH; i++) table[i] = (float)(i / WIDTH);

    kq_error err;
    kq_device *device = NULL;
    if (kq_device_open(&device, NULL, &err)) goto failed;
    if (kq_quantize(KQ_Q8_0, table, TOKENS * WIDTH, TOKENS, WIDTH, packed, sizeof packed, NULL, &err)) goto failed;

    kq_weights w = {.codec = KQ_Q8_0, .data = packed, .bytes = sizeof packed, .rows = TOKENS, .cols = WIDTH};
    kq_results out = {.type = KQ_BF16, .data = rows, .bytes = sizeof rows, .rows = WANTED, .cols = WIDTH};
    if (kq_embed(device, &w, ids, WANTED, &out, &err)) goto failed;

    for (int i = 0; i < WANTED; i++) { /* bf16 is the upper half of a float */
        uint32_t bits = (uint32_t)rows[i * WIDTH] << 16;
        float first;
        memcpy(&first, &bits, sizeof first);
        printf("row %d: %.1f\n", ids[i], (double)first);
    }
    kq_device_close(device);
    return 0;
failed:
    fprintf(stderr, "%s\n", err.text);
    kq_device_close(device);
    return 1;
}
