/* SPDX-License-Identifier: MIT */
/* kquant inspect: what is in a GGUF file, or in a folder. Of a file it needs neither a known architecture nor a known tokenizer. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct values {
    cli_values common;
    const char *model;
    bool json, full, tensors, metadata;
} values;

static const cli_option options[] = {
    {.names = "-m --model", CLI_IS_FILE(model), .help = "the file or folder, instead of the argument"},
    {.names = "--tensors", CLI_IS_FLAG(tensors), .help = "show the tensors alone"},
    {.names = "--metadata", CLI_IS_FLAG(metadata), .help = "show the metadata alone"},
    {.names = "--json", CLI_IS_FLAG(json), .help = "print JSON: everything, but of long arrays only the length"},
    {.names = "--full", CLI_IS_FLAG(full), .help = "with --json, print long arrays too"},
};

/* ---- what both outputs need ------------------------------------------------------------------------------------------- */

typedef struct type_sum {
    const kq_codec_info *codec;
    uint64_t tensors, weights, bytes;
} type_sum;

typedef struct summary {
    type_sum types[KQ_CODEC_LIMIT]; /* those that occur, most bytes first */
    size_t n_types;
    uint64_t weights, bytes;
} summary;

static int more_bytes(const void *a, const void *b) {
    const type_sum *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->codec->codec > y->codec->codec) - (x->codec->codec < y->codec->codec);
}

static void summarize(const kq_gguf *g, summary *s) {
    *s = (summary){0};
    type_sum all[KQ_CODEC_LIMIT] = {0};
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        type_sum *sum = &all[t->codec];
        sum->codec = kq_codec_describe(t->codec);
        sum->tensors++;
        sum->weights += t->weights; /* tensors do not overlap and lie in files, so these cannot wrap */
        sum->bytes += t->bytes;
        s->weights += t->weights;
        s->bytes += t->bytes;
    }
    for (size_t i = 0; i < KQ_CODEC_LIMIT; i++) {
        if (all[i].tensors) s->types[s->n_types++] = all[i];
    }
    qsort(s->types, s->n_types, sizeof *s->types, more_bytes);
}

static double bits_per_weight(uint64_t bytes, uint64_t weights) { return weights ? (double)bytes * 8 / (double)weights : 0; }

static const char *kind_name(kq_gguf_kind kind) {
    static const char *const names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)kind < CLI_COUNT(names) ? names[kind] : "?";
}

/* A u64 scalar or element above INT64_MAX, which kq_gguf_element_i64 leaves out. */
static uint64_t element_u64(const kq_gguf_value *v, uint64_t i) {
    uint64_t u;
    memcpy(&u, v->data + i * 8, 8);
    return u;
}

static bool is_float(kq_gguf_kind kind) { return kind == KQ_GGUF_F32 || kind == KQ_GGUF_F64; }

/* ---- JSON --------------------------------------------------------------------------------------------------------------- */

static void json_element(cli_json *j, const kq_gguf_value *v, uint64_t i) {
    int64_t whole;
    double number;
    if (is_float(v->element) && kq_gguf_element_f64(v, i, &number)) {
        if (v->element == KQ_GGUF_F32) {
            cli_json_f32(j, NULL, (float)number);
        } else {
            cli_json_f64(j, NULL, number);
        }
    } else if (kq_gguf_element_i64(v, i, &whole)) {
        if (v->element == KQ_GGUF_BOOL) {
            cli_json_bool(j, NULL, whole != 0);
        } else {
            cli_json_i64(j, NULL, whole);
        }
    } else {
        cli_json_u64(j, NULL, element_u64(v, i));
    }
}

static void json_value(cli_json *j, const kq_gguf_value *v, bool full) {
    enum { LONG_ARRAY = 64 };
    kq_string s;
    if (v->kind != KQ_GGUF_ARRAY) {
        if (v->kind == KQ_GGUF_STRING && kq_gguf_scalar_string(v, &s)) {
            cli_json_bytes(j, NULL, s.data, s.size);
        } else {
            json_element(j, v, 0);
        }
        return;
    }
    if (v->count > LONG_ARRAY && !full) {
        cli_json_object(j, NULL);
        cli_json_string(j, "array_of", kind_name(v->element));
        cli_json_u64(j, "length", v->count);
        cli_json_end(j, '}');
        return;
    }
    cli_json_list(j, NULL);
    kq_gguf_strings it = kq_gguf_strings_of(v);
    if (v->element == KQ_GGUF_STRING) {
        while (kq_gguf_strings_next(&it, &s)) cli_json_bytes(j, NULL, s.data, s.size);
    } else {
        for (uint64_t i = 0; i < v->count; i++) json_element(j, v, i);
    }
    cli_json_end(j, ']');
}

static void json_tensors(cli_json *j, const kq_gguf *g) {
    cli_json_array(j, "tensors");
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        cli_json_object(j, NULL);
        cli_json_bytes(j, "name", t->name.data, t->name.size);
        cli_json_string(j, "type", kq_codec_describe(t->codec)->name);
        cli_json_list(j, "shape");
        for (uint32_t d = 0; d < t->n_dims; d++) cli_json_u64(j, NULL, t->dims[d]);
        cli_json_end(j, ']');
        cli_json_u64(j, "weights", t->weights);
        cli_json_u64(j, "bytes", t->bytes);
        cli_json_f64(j, "bits_per_weight", bits_per_weight(t->bytes, t->weights));
        cli_json_u64(j, "part", t->part);
        if (t->offset != KQ_NO_OFFSET) cli_json_u64(j, "offset", t->offset);
        else cli_json_null(j, "offset");
        cli_json_end(j, '}');
    }
    cli_json_end(j, ']');
}

static void json_metadata(cli_json *j, const kq_gguf *g, bool full) {
    cli_json_object(j, "metadata");
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        cli_json_key(j, v->key.data, v->key.size);
        json_value(j, v, full);
    }
    cli_json_end(j, '}');
}

static void json_text_key(cli_json *j, const char *name, const kq_gguf *g, const char *key) {
    kq_string s;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v && kq_gguf_scalar_string(v, &s)) {
        cli_json_bytes(j, name, s.data, s.size);
    } else {
        cli_json_null(j, name);
    }
}

static void print_json(const kq_gguf *g, const summary *s, const values *v) {
    cli_json j = {.out = stdout};
    bool all = !v->tensors && !v->metadata;
    cli_json_object(&j, NULL);
    cli_json_string(&j, "file", kq_gguf_path(g));
    if (all) {
        cli_json_string(&j, "form", kq_source_form(g));
        if (kq_gguf_version(g)) cli_json_u64(&j, "gguf_version", kq_gguf_version(g));
        else cli_json_null(&j, "gguf_version");
        cli_json_u64(&j, "parts", kq_gguf_parts(g));
        cli_json_u64(&j, "file_bytes", kq_gguf_file_bytes(g));
        cli_json_u64(&j, "alignment", kq_gguf_alignment(g));
        json_text_key(&j, "architecture", g, "general.architecture");
        json_text_key(&j, "name", g, "general.name");
        cli_json_u64(&j, "parameters", s->weights);
        cli_json_u64(&j, "weight_bytes", s->bytes);
        cli_json_f64(&j, "bits_per_weight", bits_per_weight(s->bytes, s->weights));
        cli_json_array(&j, "types");
        for (size_t i = 0; i < s->n_types; i++) {
            const type_sum *t = &s->types[i];
            cli_json_object(&j, NULL);
            cli_json_string(&j, "type", t->codec->name);
            cli_json_u64(&j, "tensors", t->tensors);
            cli_json_u64(&j, "weights", t->weights);
            cli_json_u64(&j, "bytes", t->bytes);
            cli_json_f64(&j, "bits_per_weight", bits_per_weight(t->bytes, t->weights));
            cli_json_end(&j, '}');
        }
        cli_json_end(&j, ']');
    }
    if (all || v->metadata) json_metadata(&j, g, v->full);
    if (all || v->tensors) json_tensors(&j, g);
    cli_json_end(&j, '}');
}

/* ---- text --------------------------------------------------------------------------------------------------------------- */

static void print_text(const char *label, const char *data, size_t size, int width) {
    char *shown = cli_show(data, size, width - 15, false);
    printf("%-15s%s\n", label, shown);
    free(shown);
}

static void print_key(const char *label, const kq_gguf *g, const char *key, int width) {
    kq_string s;
    const kq_gguf_value *v = kq_gguf_find(g, key);
    if (v && kq_gguf_scalar_string(v, &s) && s.size > 0) print_text(label, s.data, s.size, width);
}

/* "8 layers, width 256": from keys that begin with the architecture's name. */
static void print_shape(const kq_gguf *g, int width) {
    static const struct {
        const char *key, *label;
    } rows[] = {{"block_count", "layers"}, {"embedding_length", "width"}, {"attention.head_count", "heads"},
                {"attention.head_count_kv", "kv heads"}, {"expert_count", "experts"}, {"context_length", "context"}};
    kq_string arch;
    const kq_gguf_value *v = kq_gguf_find(g, "general.architecture");
    if (!v || !kq_gguf_scalar_string(v, &arch) || arch.size > 100) return;
    char line[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < CLI_COUNT(rows); i++) {
        char key[160];
        uint64_t number;
        snprintf(key, sizeof key, "%.*s.%s", (int)arch.size, arch.data, rows[i].key);
        if (!kq_gguf_find(g, key) || kq_gguf_get_u64(g, key, 1, UINT64_MAX, &number, NULL)) continue;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %llu", n ? ", " : "", rows[i].label, (unsigned long long)number);
    }
    if (n) print_text("shape", line, n, width);
}

static void print_summary(const kq_gguf *g, const summary *s, int width) {
    const char *path = kq_gguf_path(g);
    print_text("file", path, strlen(path), width);
    char format[64];
    bool gguf = kq_gguf_version(g) != 0, checkpoint = strcmp(kq_source_form(g), "mlx-kquant") == 0;
    snprintf(format, sizeof format, "GGUF %u", kq_gguf_version(g));
    printf("%-15s%s, %s in %u file%s\n", "format", gguf ? format : checkpoint ? "mlx-kquant checkpoint" : "Hugging Face folder",
           cli_bytes(kq_gguf_file_bytes(g)).text, kq_gguf_parts(g), kq_gguf_parts(g) == 1 ? "" : "s");
    print_key("architecture", g, "general.architecture", width);
    print_key("name", g, "general.name", width);
    print_shape(g, width);
    const kq_gguf_value *tokens = kq_gguf_find(g, "tokenizer.ggml.tokens");
    kq_string model;
    const kq_gguf_value *v = kq_gguf_find(g, "tokenizer.ggml.model");
    if (tokens && tokens->kind == KQ_GGUF_ARRAY && v && kq_gguf_scalar_string(v, &model)) {
        char *shown = cli_show(model.data, model.size, 40, false);
        printf("%-15s%s, %llu tokens\n", "vocabulary", shown, (unsigned long long)tokens->count);
        free(shown);
    }
    if (kq_gguf_n_tensors(g) == 0) {
        printf("%-15snone: the file has no tensors\n", "parameters");
        return;
    }
    printf("%-15s%s (%llu) in %zu tensors\n", "parameters", cli_count(s->weights).text, (unsigned long long)s->weights,
           kq_gguf_n_tensors(g));
    printf("%-15s%s, %.2f bits per weight\n", "weights", cli_bytes(s->bytes).text, bits_per_weight(s->bytes, s->weights));
}

static void print_types(const summary *s, int width) {
    static const cli_column columns[] = {{.title = "type"}, {"tensors", true, false}, {"weights", true, false}, {"bytes", true, false},
                                         {"bits/weight", true, false}, {"share", true, false}};
    cli_table table = {.columns = columns, .n_columns = CLI_COUNT(columns)};
    for (size_t i = 0; i < s->n_types; i++) {
        const type_sum *t = &s->types[i];
        char tensors[24], bits[24], share[24];
        snprintf(tensors, sizeof tensors, "%llu", (unsigned long long)t->tensors);
        snprintf(bits, sizeof bits, "%.2f", bits_per_weight(t->bytes, t->weights));
        snprintf(share, sizeof share, "%.1f %%", s->bytes ? 100.0 * (double)t->bytes / (double)s->bytes : 0);
        cli_table_row(&table, (const char *[]){t->codec->name, tensors, cli_count(t->weights).text, cli_bytes(t->bytes).text, bits, share});
    }
    cli_table_print(&table, stdout, width);
    cli_table_free(&table);
}

/* A value on one line. */
static char *value_text(const kq_gguf_value *v, int width) {
    char text[512];
    size_t n = 0;
    kq_string s;
    if (v->kind == KQ_GGUF_STRING) return kq_gguf_scalar_string(v, &s) ? cli_show(s.data, s.size, width, false) : cli_show("", 0, 0, false);
    if (v->kind == KQ_GGUF_ARRAY) n = (size_t)snprintf(text, sizeof text, "[%llu] ", (unsigned long long)v->count);
    kq_gguf_strings it = kq_gguf_strings_of(v);
    for (uint64_t i = 0; i < v->count && n < CLI_MIN((size_t)width, sizeof text - 1); i++) {
        const char *comma = i ? ", " : "";
        int64_t whole;
        double number;
        if (v->element == KQ_GGUF_STRING) {
            if (!kq_gguf_strings_next(&it, &s)) break;
            n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%.*s\"", comma, (int)CLI_MIN(s.size, (size_t)40), s.data);
        } else if (is_float(v->element) && kq_gguf_element_f64(v, i, &number)) {
            n += (size_t)snprintf(text + n, sizeof text - n, v->element == KQ_GGUF_F32 ? "%s%.8g" : "%s%.17g", comma, number);
        } else if (v->element == KQ_GGUF_BOOL && kq_gguf_element_i64(v, i, &whole)) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", comma, whole ? "true" : "false");
        } else if (kq_gguf_element_i64(v, i, &whole)) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", comma, (long long)whole);
        } else {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%llu", comma, (unsigned long long)element_u64(v, i));
        }
        n = CLI_MIN(n, sizeof text - 1);
    }
    return cli_show(text, n, width, false);
}

static void print_metadata(const kq_gguf *g, int width) {
    static const cli_column columns[] = {{"key", false, true}, {.title = "kind"}, {"value", false, false}};
    int key_width = 3, kind_width = 4;
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        char *key = cli_show(v->key.data, v->key.size, 40, true);
        key_width = CLI_MAX(key_width, cli_width(key));
        kind_width = CLI_MAX(kind_width, (int)strlen(kind_name(v->element)) + (v->kind == KQ_GGUF_ARRAY ? 2 : 0));
        free(key);
    }
    cli_table table = {.columns = columns, .n_columns = CLI_COUNT(columns)};
    for (size_t i = 0; i < kq_gguf_n_values(g); i++) {
        const kq_gguf_value *v = kq_gguf_value_at(g, i);
        char *key = cli_show(v->key.data, v->key.size, 40, true), kind[24];
        char *text = value_text(v, CLI_MAX(width - key_width - kind_width - 4, 8));
        snprintf(kind, sizeof kind, "%s%s", kind_name(v->element), v->kind == KQ_GGUF_ARRAY ? "[]" : "");
        cli_table_row(&table, (const char *[]){key, kind, text});
        free(key);
        free(text);
    }
    cli_table_print(&table, stdout, width);
    cli_table_free(&table);
}

static void print_tensors(const kq_gguf *g, int width) {
    static const cli_column columns[] = {{"tensor", false, true}, {"shape", false, true}, {.title = "type"}, {"bytes", true, false},
                                         {"bits/weight", true, false}};
    cli_table table = {.columns = columns, .n_columns = CLI_COUNT(columns)};
    for (size_t i = 0; i < kq_gguf_n_tensors(g); i++) {
        const kq_gguf_tensor *t = kq_gguf_tensor_at(g, i);
        char shape[96] = "", bits[24];
        size_t n = 0;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%llu", d ? " x " : "", (unsigned long long)t->dims[d]);
        }
        snprintf(bits, sizeof bits, "%.2f", bits_per_weight(t->bytes, t->weights));
        char *name = cli_show(t->name.data, t->name.size, 0, false);
        cli_table_row(&table, (const char *[]){name, shape, kq_codec_describe(t->codec)->name, cli_bytes(t->bytes).text, bits});
        free(name);
    }
    cli_table_print(&table, stdout, width);
    cli_table_free(&table);
}

static void print_all(const kq_gguf *g, const summary *s, const values *v) {
    int width = cli_columns(stdout);
    bool all = !v->tensors && !v->metadata, has_tensors = kq_gguf_n_tensors(g) > 0;
    if (all) print_summary(g, s, width);
    if (all && has_tensors) {
        putchar('\n');
        print_types(s, width);
    }
    if (all) putchar('\n');
    if (all || v->metadata) print_metadata(g, width);
    if (all ? !has_tensors : !v->tensors) return;
    if (all || v->metadata) putchar('\n');
    print_tensors(g, width);
}

static int run(const void *given) {
    const values *v = given;
    if (v->model && v->common.n_args) return cli_fail_usage(&cli_inspect, "give the file once: as an argument, or with -m");
    const char *path = v->model ? v->model : v->common.n_args ? v->common.args[0] : NULL;
    if (!path) return cli_fail_usage(&cli_inspect, "which file? (kquant inspect FILE)");
    cli_signals_file(path);
    kq_gguf *g;
    kq_error e;
    kq_source_options lazy = KQ_OPTIONS_INIT(kq_source_options);
    lazy.lazy = true;
    if (kq_source_open(&g, path, &lazy, &e)) return cli_fail_kq(path, &e);
    summary s;
    summarize(g, &s);
    if (v->json) {
        print_json(g, &s, v);
    } else {
        print_all(g, &s, v);
    }
    kq_gguf_close(g);
    return CLI_FINE;
}

const cli_command cli_inspect = {
    .name = "inspect",
    .aliases = "show info",
    .usage = "FILE [--json] [--tensors] [--metadata]",
    .summary = "Show what is in a model: a GGUF file, or a folder",
    .description =
        "Shows the architecture, size and bits per weight of a model, how much of it each type takes, its metadata and its tensors.\n"
        "Of a split file any part may be given; the others are found. A folder of Hugging Face, or a checkpoint of mlx-kquant, is shown as\n"
        "the GGUF that it would become.",
    .examples = "kquant inspect model.gguf\nkquant inspect ./Qwen3-0.6B\nkquant inspect model.gguf --json | jq .bits_per_weight",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 1,
    .needs_arguments = true,
    .run = run,
};
