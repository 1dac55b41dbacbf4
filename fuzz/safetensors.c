/* SPDX-License-Identifier: MIT */
/* The safetensors reader on any bytes: what opens is walked to its last byte, and its tensors must cover the data. */
#include <kquant/file.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that no read is optimised away */

static void must(bool truth) {
    if (!truth) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kq_safetensors *s;
    kq_error e;
    kq_status status = kq_safetensors_open_memory(&s, data, size, "fuzz.safetensors", NULL, &e);
    if (status) {
        must(!s && e.status == status && status >= KQ_E_FORMAT && status <= KQ_E_UNSUPPORTED && e.text[0]);
        must(e.offset == KQ_NO_OFFSET || e.offset <= size);
        return 0;
    }
    uint64_t end = 0, bytes = 0, sum = 0;
    for (size_t i = 0; i < kq_safetensors_n_tensors(s); i++) {
        const kq_safetensors_tensor *t = kq_safetensors_tensor_at(s, i);
        must(t->name.size && t->name.data[t->name.size] == 0 && kq_safetensors_tensor_find(s, t->name.data) == t && t->shard == 0);
        must(t->n_dims <= KQ_SAFETENSORS_MAX_DIMS && t->bytes == t->elements * kq_dtype_describe((uint32_t)t->dtype)->bytes);
        must((const uint8_t *)t->data == data + t->offset && (i == 0 || t->offset == end));
        end = t->offset + t->bytes;
        bytes += t->bytes;
        for (uint64_t k = 0; k < t->bytes; k++) sum += ((const uint8_t *)t->data)[k];
    }
    must(end <= size && bytes <= size && (end == size || kq_safetensors_n_tensors(s) == 0));
    const char *key, *value;
    for (size_t i = 0; kq_safetensors_metadata_at(s, i, &key, &value); i++) {
        for (; *key; key++) sum += (uint8_t)*key;
        for (; *value; value++) sum += (uint8_t)*value;
    }
    sink += sum;
    kq_safetensors_close(s);
    return 0;
}
