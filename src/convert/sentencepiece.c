/* SPDX-License-Identifier: MIT */
/* tokenizer.model of SentencePiece: a protobuf message, of which only the pieces matter. Source of the numbers: sentencepiece_model.proto.
 *     ModelProto      1: pieces, repeated SentencePiece   2: trainer_spec
 *     SentencePiece   1: text   2: score, float   3: type, 1 normal (when absent) 2 unknown 3 control 4 user-defined 5 unused 6 byte
 *     TrainerSpec     3: model_type, 1 unigram 2 bpe
 * A message is a sequence of fields: a varint (number << 3 | form), then a varint (form 0), 8 bytes (1), a length and bytes (2), or 4 bytes (5). */
#include "convert/vocabulary.h"

#include <math.h>

typedef unsigned long long ull; /* for printf */

enum { FORM_VARINT = 0, FORM_8 = 1, FORM_BYTES = 2, FORM_4 = 5 };

typedef struct field {
    uint64_t number, value; /* value: of a varint */
    int form;
    const uint8_t *data;    /* of the other forms */
    uint64_t size;
} field;

static bool varint(kq_cursor *c, uint64_t *out) {
    uint8_t byte = 0;
    *out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (!kq_cursor_u8(c, &byte)) return false;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

/* The next field. False at the end, and with *broken where the bytes are no field. */
static bool next(kq_cursor *c, field *f, bool *broken) {
    uint64_t tag = 0;
    if (!kq_cursor_left(c)) return false;
    *broken = true;
    if (!varint(c, &tag)) return false;
    *f = (field){.number = tag >> 3, .form = (int)(tag & 7)};
    switch (f->form) {
    case FORM_VARINT: *broken = !varint(c, &f->value); return !*broken;
    case FORM_8: f->size = 8; break;
    case FORM_4: f->size = 4; break;
    case FORM_BYTES:
        if (!varint(c, &f->size)) return false;
        break;
    default: return false;
    }
    f->data = kq_cursor_take(c, f->size);
    *broken = !f->data;
    return !*broken;
}

static int32_t type_of(uint64_t type) {
    /* user-defined pieces as normal ones, as llama.cpp's converter has it; added_tokens_decoder then says what they are */
    return type == 2 || type == 3 || type == 5 || type == 6 ? (int32_t)type : KQ_TYPE_NORMAL;
}

static kq_status read_piece(kq_tokens *v, kq_cursor c, const char *path, uint64_t at, kq_error *err) {
    kq_string text = {"", 0};
    float score = 0;
    uint64_t type = 1;
    bool broken = false;
    field f;
    while (next(&c, &f, &broken)) {
        if (f.number == 1 && f.form == FORM_BYTES) text = (kq_string){(const char *)f.data, (size_t)f.size};
        if (f.number == 2 && f.form == FORM_4) score = kq_load_f32(f.data);
        if (f.number == 3 && f.form == FORM_VARINT) type = f.value;
    }
    if (broken || !isfinite(score) || text.size > KQ_VOCAB_MAX_TOKEN) {
        return kq_fail_at(err, KQ_E_FORMAT, path, at, "piece %zu: broken, a score that is no number, or more than %d bytes", v->n, KQ_VOCAB_MAX_TOKEN);
    }
    size_t id = v->n;
    KQ_TRY(kq_tokens_resize(v, id + 1, err));
    v->text[id] = (kq_string){kq_arena_string(&v->arena, text.data, text.size), text.size};
    if (!v->text[id].data) return kq_fail_memory(err, text.size, "a piece");
    v->type[id] = type_of(type);
    v->score[id] = score;
    return KQ_OK;
}

static kq_status check_trainer(kq_cursor c, const char *path, uint64_t at, kq_error *err) {
    bool broken = false;
    field f;
    while (next(&c, &f, &broken)) {
        if (f.number == 3 && f.form == FORM_VARINT && f.value != 2) {
            return kq_fail_at(err, KQ_E_UNSUPPORTED, path, at, "trainer_spec.model_type is %llu, only 2 (BPE) is supported", (ull)f.value);
        }
    }
    return broken ? kq_fail_at(err, KQ_E_FORMAT, path, at, "trainer_spec is broken") : KQ_OK;
}

kq_status kq_sentencepiece_parse(kq_tokens *v, const void *data, uint64_t size, const char *path, kq_error *err) {
    kq_cursor c = {.data = data, .size = size};
    bool broken = false;
    field f;
    kq_status status = KQ_OK;
    while (!status && next(&c, &f, &broken)) {
        kq_cursor inner = {.data = f.data, .size = f.size};
        uint64_t at = c.at - f.size;
        if (f.form != FORM_BYTES) continue;
        if (f.number == 1) status = read_piece(v, inner, path, at, err);
        if (f.number == 2) status = check_trainer(inner, path, at, err);
    }
    if (!status && broken) status = kq_fail_at(err, KQ_E_FORMAT, path, c.at, "it is no SentencePiece model: no field of a message here");
    if (!status && !v->n) status = kq_fail_at(err, KQ_E_FORMAT, path, 0, "it has no pieces");
    return status;
}

kq_status kq_sentencepiece_read(kq_tokens *v, kq_hf_config *c, bool *found, kq_error *err) {
    const char *path = kq_hf_path(c, "tokenizer.model");
    if (!path) return kq_fail_memory(err, strlen(c->folder), "a path");
    *found = kq_hf_exists(path);
    if (!*found) return KQ_OK;
    kq_map map;
    KQ_TRY(kq_map_open(&map, path, err));
    kq_status status = KQ_OK;
    if (map.size > KQ_TOKENIZER_MAX_BYTES) {
        status = kq_fail_at(err, KQ_E_LIMIT, path, KQ_NO_OFFSET, "it has %llu bytes, the limit is %d", (ull)map.size, KQ_TOKENIZER_MAX_BYTES);
    }
    if (!status) status = kq_sentencepiece_parse(v, map.data, map.size, path, err);
    kq_map_close(&map);
    return status;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *out, uint64_t value) {
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

static void add_varint(kq_text *out, uint64_t value) {
    uint8_t bytes[10];
    kq_text_add(out, bytes, put_varint(bytes, value));
}

static void add_number(kq_text *out, uint64_t number, uint64_t value) {
    add_varint(out, number << 3 | FORM_VARINT);
    add_varint(out, value);
}

static void add_bytes(kq_text *out, uint64_t number, const void *data, size_t size) {
    add_varint(out, number << 3 | FORM_BYTES);
    add_varint(out, size);
    kq_text_add(out, data, size);
}

static void add_piece(kq_text *out, kq_text *piece, kq_string text, float score, int32_t type) {
    piece->size = 0;
    add_bytes(piece, 1, text.data, text.size);
    add_varint(piece, 2 << 3 | FORM_4);
    kq_text_add(piece, &score, 4);
    if (type != KQ_TYPE_NORMAL) add_number(piece, 3, (uint64_t)type);
    add_bytes(out, 1, piece->data, piece->size);
}

/* A negative id, which stands for none, is a varint of 64 bits. */
static void add_id(kq_text *out, uint64_t number, const kq_tokens *v, int32_t id) {
    add_number(out, number, id >= 0 && (size_t)id < v->n ? (uint64_t)id : UINT64_MAX);
}

kq_status kq_sentencepiece_write(const kq_tokens *v, const kq_tokenizer *t, const char *path, kq_error *err) {
    kq_text out = {.allocator = &v->allocator}, part = {.allocator = &v->allocator};
    int32_t unk = -1;
    for (size_t id = 0; id < v->n; id++) {
        if (unk < 0 && v->type[id] == KQ_TYPE_UNKNOWN) unk = (int32_t)id;
        add_piece(&out, &part, v->text[id], v->score[id], v->type[id]);
    }
    part.size = 0; /* TrainerSpec: model_type, vocab_size, byte_fallback, unk_id, bos_id, eos_id, pad_id */
    add_number(&part, 3, 2);
    add_number(&part, 4, v->n);
    add_number(&part, 35, 1);
    add_id(&part, 40, v, unk);
    add_id(&part, 41, v, kq_tokenizer_bos(t));
    add_id(&part, 42, v, kq_tokenizer_eos(t));
    add_id(&part, 43, v, -1);
    add_bytes(&out, 2, part.data, part.size);
    part.size = 0; /* NormalizerSpec: name, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces */
    add_bytes(&part, 1, "identity", 8);
    add_number(&part, 3, t->add_space_prefix);
    add_number(&part, 4, 0);
    add_number(&part, 5, 1);
    add_bytes(&out, 3, part.data, part.size);
    out.failed = out.failed || part.failed;
    kq_status status = kq_text_write(&out, path, err);
    kq_free(&v->allocator, out.data);
    kq_free(&v->allocator, part.data);
    return status;
}
