/* SPDX-License-Identifier: MIT */
/* jansson behind limits of our own. */
#include "file/json.h"

typedef unsigned long long ull; /* for printf */

/* Every value is the whole, or the first in brackets, or behind a comma: so brackets and commas outside strings bound their number.
 * What is no JSON may be counted wrongly; it is refused by the parser, within the same bounds. */
static kq_status check_limits(const uint8_t *p, uint64_t size, kq_json_limits limits, const char *path, uint64_t base, kq_error *err) {
    uint64_t values = 1;
    uint32_t depth = 0;
    bool inside = false;
    for (uint64_t i = 0; i < size; i++) {
        uint8_t c = p[i];
        if (inside) {
            if (c == '\\') i++;
            if (c == '"') inside = false;
            continue;
        }
        if (c == '"') inside = true;
        if (c == '{' || c == '[') {
            values++;
            if (++depth > limits.depth) {
                return kq_fail_at(err, KQ_E_LIMIT, path, base + i, "its JSON is more than %u deep, which is the limit", limits.depth);
            }
        }
        if (c == ',') values++;
        if ((c == '}' || c == ']') && depth) depth--;
        if (values > limits.values) {
            return kq_fail_at(err, KQ_E_LIMIT, path, base + i, "its JSON has more than %llu values, which is the limit", (ull)limits.values);
        }
    }
    return KQ_OK;
}

kq_status kq_json_parse(json_t **out, const void *data, uint64_t size, kq_json_limits limits, const char *path, uint64_t base, kq_error *err) {
    *out = NULL;
    if (!size) return kq_fail_at(err, KQ_E_FORMAT, path, base, "it is empty, must be JSON");
    KQ_TRY(check_limits(data, size, limits, path, base, err));
    json_error_t e;
    *out = json_loadb(data, (size_t)size, JSON_REJECT_DUPLICATES, &e);
    if (*out) return KQ_OK;
    if (json_error_code(&e) == json_error_out_of_memory) return kq_fail_memory(err, size, "JSON");
    uint64_t at = e.position > 0 ? KQ_MIN((uint64_t)e.position, size) : 0;
    return kq_fail_at(err, KQ_E_FORMAT, path, base + at, "it is no valid JSON: %s", e.text);
}

bool kq_json_u64(const json_t *value, uint64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

kq_status kq_json_read(json_t **out, const char *path, uint64_t limit, kq_json_limits limits, kq_error *err) {
    *out = NULL;
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    kq_status status = KQ_OK;
    if (map.size > limit) {
        status = kq_fail_at(err, KQ_E_LIMIT, path, KQ_NO_OFFSET, "it has %llu bytes, the limit is %llu", (ull)map.size, (ull)limit);
    }
    if (!status) status = kq_json_parse(out, map.data, map.size, limits, path, 0, err);
    kq_map_close(&map);
    return status;
}
