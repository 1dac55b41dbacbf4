/* SPDX-License-Identifier: MIT */
/* Models: an open file, its vocabulary and its verified program. Weights are not read here: they stay in the mapping, and the
 * operating system fetches them when the first token needs them. Advice to it (MADV_WILLNEED or MADV_SEQUENTIAL over 800 MB that were not in
 * memory) changed nothing: 0.50 s to touch every page without, 0.49 and 0.52 s with, the disk's own 1.6 GB/s. */
#include "engine/engine.h"

#include "arch/arch.h"
#include "file/file.h"

#include <kquant/convert.h>

static bool cancelled(const kq_model_options *o, double done) { return o->progress && !o->progress(o->progress_ctx, done); }

/* general.name as a C string that lives as long as the model. */
static kq_status read_name(kq_model *m, kq_error *err) {
    kq_string name = {0};
    const kq_gguf_value *v = kq_gguf_find(m->file, "general.name");
    if (v && v->kind == KQ_GGUF_STRING) KQ_TRY(kq_gguf_get_string(m->file, "general.name", &name, err));
    m->info.name = kq_arena_string(&m->program.arena, name.data, name.size);
    return m->info.name ? KQ_OK : kq_fail_memory(err, name.size, "a model");
}

/* The slots that sessions fill and read. Other inputs or outputs would be left unset. */
static kq_status find_slots(kq_model *m, kq_error *err) {
    const kq_program *p = &m->program;
    m->tokens = kq_program_find(p, KQ_SLOT_INPUT, "tokens");
    m->positions = kq_program_find(p, KQ_SLOT_INPUT, "positions");
    m->rows = kq_program_find(p, KQ_SLOT_INPUT, "rows");
    m->logits = kq_program_find(p, KQ_SLOT_OUTPUT, "logits");
    for (uint32_t i = 0; i < p->n_slots; i++) {
        uint8_t kind = p->slots[i].kind;
        if ((kind == KQ_SLOT_INPUT && i != m->tokens && i != m->positions && i != m->rows) || (kind == KQ_SLOT_OUTPUT && i != m->logits)) {
            return kq_fail(err, KQ_E_PROGRAM, "slot %u %.60s: a session does not know it", i, p->slots[i].name);
        }
    }
    if (m->tokens == KQ_NO_SLOT || m->positions == KQ_NO_SLOT || m->rows == KQ_NO_SLOT || m->logits == KQ_NO_SLOT) {
        return kq_fail(err, KQ_E_PROGRAM, "the program has no tokens, positions, rows or logits");
    }
    return KQ_OK;
}

/* A tensor that no step reads means that the file holds another model than its metadata tells of (fewer layers, a bias that the family
 * does not have), which would run and speak nonsense. Classifiers on top of a language model are the known exception. */
static kq_status refuse_unused(const kq_model *m, kq_error *err) {
    const kq_program *p = &m->program;
    kq_strmap used;
    bool failed = !kq_strmap_init(&used, &m->allocator, p->n_slots);
    for (size_t i = 0; i < p->n_slots && !failed; i++) {
        const char *name = p->slots[i].name;
        if (p->slots[i].kind == KQ_SLOT_WEIGHT) kq_strmap_add(&used, name, strlen(name), (uint32_t)i, NULL, &failed);
    }
    kq_status status = failed ? kq_fail_memory(err, p->n_slots * sizeof *used.slots, "a model") : KQ_OK;
    for (size_t i = 0; i < kq_gguf_n_tensors(m->file) && !status; i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(m->file, i);
        if (kq_strmap_find(&used, t->name.data, t->name.size, NULL) || strncmp(t->name.data, "cls.", 4) == 0) continue;
        status = kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(m->file), t->offset, "tensor %s has no use in a model of %llu layers", KQ_SHOW(t->name),
                            (unsigned long long)m->info.n_layer);
    }
    kq_strmap_free(&used);
    return status;
}

static void count(kq_model *m) {
    for (size_t i = 0; i < kq_gguf_n_tensors(m->file); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(m->file, i);
        m->info.n_params += t->weights; /* the reader has checked that all of them fit the file */
        m->info.weight_bytes += t->bytes;
    }
    const kq_symbols one = {{1, 1, 1}};
    for (size_t i = 0; i < m->program.n_slots; i++) {
        uint64_t bytes;
        if (m->program.slots[i].kind != KQ_SLOT_STATE || !kq_slot_bytes(&m->program.slots[i], &one, &bytes)) continue;
        m->info.state_bytes_per_token += bytes / sizeof(float) * sizeof(uint16_t);
    }
}

static kq_status open_tokenizer(kq_model *m, kq_error *err) {
    kq_tokenizer_options options = KQ_OPTIONS_INIT(kq_tokenizer_options);
    options.allocator = &m->allocator;
    KQ_TRY(kq_tokenizer_open(&m->tokenizer, m->file, &options, err));
    size_t n = kq_tokenizer_size(m->tokenizer);
    if (n == m->info.n_vocab) return KQ_OK;
    return kq_fail_at(err, KQ_E_MODEL, kq_gguf_path(m->file), KQ_NO_OFFSET, "token_embd.weight has %llu rows for a vocabulary of %zu tokens",
                      (unsigned long long)m->info.n_vocab, n);
}

static kq_status load(kq_model *m, const kq_model_options *o, kq_error *err) {
    kq_shape shape;
    KQ_TRY(kq_arch_build(&m->program, &shape, m->file, err));
    KQ_TRY(kq_program_verify(&m->program, err));
    KQ_TRY(find_slots(m, err));
    KQ_TRY(read_name(m, err));
    m->info.architecture = shape.architecture;
    m->info.n_vocab = shape.n_vocab;
    m->info.n_layer = shape.n_layer;
    m->info.n_embd = shape.n_embd;
    m->info.n_ctx_train = shape.n_ctx_train;
    KQ_TRY(refuse_unused(m, err));
    count(m);
    if (cancelled(o, 0.5)) return kq_fail(err, KQ_E_CANCELLED, "loading was stopped");
    if (!o->no_tokenizer) KQ_TRY(open_tokenizer(m, err));
    if (cancelled(o, 1.0)) return kq_fail(err, KQ_E_CANCELLED, "loading was stopped");
    return KQ_OK;
}

kq_status kq_model_open_file(kq_model **out, kq_gguf *file, const kq_model_options *options, kq_error *err) {
    kq_model_options o;
    kq_options_read(&o, sizeof o, options);
    *out = NULL;
    kq_allocator a = kq_allocator_of(o.allocator);
    kq_model *m = kq_alloc(&a, 1, sizeof *m);
    if (!m) {
        kq_gguf_close(file);
        return kq_fail_memory(err, sizeof *m, "a model");
    }
    m->allocator = a;
    m->file = file;
    kq_program_init(&m->program, &a);
    kq_status status = load(m, &o, err);
    if (status && err && !err->file[0]) { /* the verifier does not know the file */
        kq_error inner = *err;
        status = kq_fail_at(err, status, kq_gguf_path(file), KQ_NO_OFFSET, "%s", inner.text);
    }
    if (status) kq_model_close(m);
    else *out = m;
    return status;
}

kq_status kq_model_open(kq_model **out, const char *path, const kq_model_options *options, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!path) return kq_fail(err, KQ_E_ARGUMENT, "kq_model_open: path is NULL");
    kq_model_options o;
    kq_options_read(&o, sizeof o, options);
    if (cancelled(&o, 0.0)) return kq_fail(err, KQ_E_CANCELLED, "loading was stopped");
    kq_source_options source = KQ_OPTIONS_INIT(kq_source_options);
    source.allocator = o.allocator;
    source.no_vocabulary = o.no_tokenizer;
    kq_gguf *file;
    KQ_TRY(kq_source_open(&file, path, &source, err));
    return kq_model_open_file(out, file, &o, err);
}

void kq_model_close(kq_model *m) {
    if (!m) return;
    kq_allocator a = m->allocator;
    kq_tokenizer_close(m->tokenizer);
    kq_program_free(&m->program);
    kq_gguf_close(m->file);
    kq_free(&a, m);
}

kq_model_info kq_model_describe(const kq_model *m) { return m->info; }
const kq_tokenizer *kq_model_tokenizer(const kq_model *m) { return m->tokenizer; }
const kq_gguf *kq_model_file(const kq_model *m) { return m->file; }
