/* SPDX-License-Identifier: MIT */
/* cli owns the program `kquant`: its commands, one table of options each, and everything that people see.
 * It may include: the public headers only.
 *
 * Contracts of every command
 *   - stdout carries the result alone; bars, notes, statistics and errors go to stderr, an error as one line.
 *   - Bars are drawn on a terminal only. `--json` is pure JSON.
 *   - What cannot be written to stdout is an error; a reader that goes away (SIGPIPE) ends the program quietly.
 *   - Exit: 0 fine, 1 failed, 2 usage, 3 the file is bad, 130 interrupted.
 *   - A file that is written appears under its name only when it is complete. */
#ifndef KQ_CLI_H
#define KQ_CLI_H

#include <kquant/kquant.h>

#include <stdio.h>

#define CLI_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CLI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CLI_MAX(a, b) ((a) > (b) ? (a) : (b))

enum { CLI_FINE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_BAD_FILE = 3, CLI_INTERRUPTED = 130 };

/* ---- commands and options (options.c, help.c, man.c, completion.c) ------------------------------------------------------ */

typedef enum cli_kind {
    CLI_HEADING, /* no option: `help` is the title of the options that follow */
    CLI_FLAG,    /* bool; `--NAME` and `--no-NAME` are each other's opposite */
    CLI_WHOLE,   /* int64_t between min and max */
    CLI_NUMBER,  /* double between min and max */
    CLI_TEXT,    /* const char * */
    CLI_FILE,    /* const char *, never empty */
    CLI_TEXTS,   /* cli_texts: may be given several times */
    CLI_CHOICE   /* int: the index in `choices` */
} cli_kind;

typedef struct cli_texts {
    const char *items[64];
    int n;
} cli_texts;

/* One row an option. Parsing, --help, the man page and the shells' completion are all made from these rows. */
typedef struct cli_option {
    const char *names;    /* "-n --predict": what people see */
    const char *aliases;  /* more spellings that are understood, or NULL: "--n-predict --max-tokens" */
    cli_kind kind;
    size_t offset;        /* of the value in the command's structure of values */
    const char *argument; /* how the help calls the value: "N"; NULL for a flag */
    const char *fallback; /* the value when the option is not given, as a user would write it; NULL: NULL, 0 or false */
    double min, max;      /* of CLI_WHOLE and CLI_NUMBER, both included */
    const char *choices;  /* of CLI_CHOICE: "f16 f32" */
    const char *help;
} cli_option;

/* How a row says kind and place of its value, in a command whose structure of values is called `values`; a field of another type
 * does not compile. */
#define CLI_FIELD(field, type) .offset = offsetof(values, field) + 0 * sizeof(_Generic(((values *)NULL)->field, type: 0))
#define CLI_IS_FLAG(field) .kind = CLI_FLAG, CLI_FIELD(field, bool)
#define CLI_IS_WHOLE(field, name, least, most) .kind = CLI_WHOLE, CLI_FIELD(field, int64_t), .argument = name, .min = least, .max = most
#define CLI_IS_NUMBER(field, name, least, most) .kind = CLI_NUMBER, CLI_FIELD(field, double), .argument = name, .min = least, .max = most
#define CLI_IS_TEXT(field, name) .kind = CLI_TEXT, CLI_FIELD(field, const char *), .argument = name
#define CLI_IS_TEXTS(field, name) .kind = CLI_TEXTS, CLI_FIELD(field, cli_texts), .argument = name
#define CLI_IS_FILE(field) .kind = CLI_FILE, CLI_FIELD(field, const char *), .argument = "FILE"
#define CLI_IS_CHOICE(field, name, words) .kind = CLI_CHOICE, CLI_FIELD(field, int), .argument = name, .choices = words

/* Every structure of values begins with these. */
typedef struct cli_values {
    char **args;  /* arguments that are no options */
    int n_args;
    int n_options; /* options given */
    bool help;
} cli_values;

typedef struct cli_command {
    const char *name;
    const char *aliases;      /* "generate", or NULL */
    const char *usage;        /* what follows the name in the usage line */
    const char *summary;      /* one line, without a full stop */
    const char *description;  /* paragraphs, an empty line between them */
    const char *examples;     /* command lines, one a line, or NULL */
    const cli_option *options;
    size_t n_options;
    size_t values_size;
    int max_args;             /* arguments that are no options */
    bool needs_arguments;     /* without any argument and option it prints its short help */
    const char *words;        /* for completion: what the arguments may be ("bash zsh fish"); NULL: files; "": the commands */
    int (*run)(const void *values); /* the exit code */
} cli_command;

/* Each in its cmd_NAME.c; a new command is that file and a row of commands.def. */
#define COMMAND(id) extern const cli_command cli_##id;
#include "cli/commands.def"
#undef COMMAND
/* All of them in the order of the help, NULL-terminated (main.c). */
extern const cli_command *const cli_commands[];
/* -h, which every command has (options.c). */
extern const cli_option cli_common_options[];
extern const size_t cli_n_common_options;
/* Row i of a command: its own, then the common ones; NULL beyond the end. */
const cli_option *cli_option_at(const cli_command *c, size_t i);

typedef struct cli_hint { char text[256]; } cli_hint;

/* Fills `values` (c->values_size bytes) from argv[0..argc), which it may reorder. False: `message` says what is wrong. */
bool cli_parse(const cli_command *c, int argc, char **argv, void *values, char *message, size_t message_size);
/* Walks a list of words separated by spaces: the next one, or NULL. *list is moved on. */
const char *cli_next_word(const char **list, size_t *length);
/* A whole number written in full, between min and max. */
bool cli_parse_whole(const char *text, int64_t min, int64_t max, int64_t *out);
/* How many single-letter edits (a swap of neighbours counts as one) lead from a to b. */
size_t cli_distance(const char *a, const char *b, size_t b_size);
const cli_command *cli_command_find(const char *name);    /* by name or alias, or NULL */
/* What follows "unknown command 'NAME'": "; did you mean 'run'?" when one is near, or all the commands. */
cli_hint cli_command_hint(const char *name);

void cli_help_all(FILE *out);                             /* all commands, a line each */
void cli_help_command(const cli_command *c, FILE *out);   /* everything about one */
void cli_help_short(const cli_command *c, FILE *out);     /* usage and summary */
void cli_help_man(FILE *out);
/* The help of an option with its range, default and other spellings. */
void cli_option_text(const cli_option *o, char *text, size_t size);
bool cli_help_completion(const char *shell, FILE *out);   /* false: no such shell */
/* `text` in lines of at most `width` columns, each after the first begun with `indent` spaces; `column` is where the first begins.
 * An empty line in the text separates paragraphs; other line breaks are spaces. */
void cli_wrap(FILE *out, const char *text, int column, int indent, int width);

/* ---- messages (message.c) --------------------------------------------------------------------------------------------- */

/* `kquant: text` on one line of stderr; bytes that do not print are escaped. Return the exit code. */
int cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
/* With file and offset; the code is the status's. `path` (may be NULL) is the file where the error names none. */
int cli_fail_kq(const char *path, const kq_error *e) __attribute__((cold));
int cli_fail_usage(const cli_command *c, const char *format, ...) __attribute__((format(printf, 2, 3), cold));
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool cli_quiet; /* no notes and no bars */

/* Writes to stdout; after a failure nothing more is written, and cli_stdout_close says so. */
bool cli_put(const void *data, size_t size);
bool cli_flush(void);
/* Closes stdout; `code`, or CLI_FAILED with a message when something could not be written. */
int cli_stdout_close(int code);

/* Memory, or the end of the program with a message. */
void *cli_alloc(size_t n, size_t size);
void *cli_grow(void *memory, size_t n, size_t size);

double cli_seconds(void); /* monotonic */

/* ---- interruption (signals.c) ------------------------------------------------------------------------------------------- */

/* Makes descriptors 0 to 2 exist and a mapped file that shrinks an error (exit 3) instead of a crash. */
void cli_signals_start(void);
/* What a failing mapping is blamed on. The path must stay valid. */
void cli_signals_file(const char *path);
/* From here on the first Ctrl-C (or SIGTERM) only makes cli_stopped true; a second one kills. */
void cli_signals_catch_stop(void);
bool cli_stopped(void);
int cli_stopped_code(void); /* 130, or 143 for SIGTERM */

/* ---- files (files.c) ------------------------------------------------------------------------------------------------------ */

/* All bytes of a file, or of standard input for "-", followed by a zero. At most 2^30. Prints its error. */
bool cli_read_file(const char *path, char **data, size_t *size);

/* A file under construction: beside its final name until cli_output_commit renames it. Devices, pipes and "-" are written directly. */
typedef struct cli_output {
    FILE *file;
    char *path;      /* links resolved; NULL for stdout */
    char *temporary; /* NULL when written directly */
} cli_output;
/* Refuses to replace `input` (may be NULL). These print their errors; false: failed, and nothing is left behind. */
bool cli_output_open(cli_output *o, const char *path, const char *input);
bool cli_output_write(cli_output *o, const void *data, size_t size);
bool cli_output_commit(cli_output *o);
void cli_output_drop(cli_output *o); /* also after a commit */

/* ---- rows (rows.c) -------------------------------------------------------------------------------------------------------- */

/* A conversion row by row, with little memory. */
typedef struct cli_rows {
    const char *label;
    size_t in_row, out_row; /* bytes */
    kq_status (*convert)(void *ctx, const void *in, size_t rows, void *out, kq_error *err);
    void *ctx;
} cli_rows;
/* Input that is no whole rows is a bad file. Returns an exit code. */
int cli_rows_convert(const cli_rows *r, const char *from_path, const char *to_path);
/* The codec and the bytes of its rows; and whether there is an input and an output. Return exit codes. */
int cli_rows_codec(const cli_command *c, const char *name, int64_t cols, const kq_codec_info **codec, size_t *bytes);
int cli_rows_paths(const cli_command *c, const cli_values *v, const char *output);

/* ---- models and their text (model.c, text.c) ---------------------------------------------------------------------------- */

/* The default model beside the program: a path, or NULL. Static memory. */
const char *cli_default_model(void);
/* `given`, or the default model; NULL after an error message. */
const char *cli_model_path(const char *given);
/* Opens a model with a bar. Returns an exit code. */
int cli_model_open(kq_model **out, const char *path, bool no_tokenizer);

/* Turns \n \t \r \\ \" \' \xHH into bytes, in place; the new size. */
size_t cli_unescape(char *text, size_t size);
/* kq_tokenizer_encode into memory that the caller frees, with room for one id more. */
kq_status cli_encode(const kq_tokenizer *t, const char *text, size_t size, uint32_t flags, int32_t **ids, size_t *count, kq_error *err);

#define CLI_HELP_ESCAPE "turn \\n, \\t, \\r, \\\\, \\\" and \\xHH of -p into what they stand for"
#define CLI_HELP_EXACT "float activations and one order of summation: the same bits for every batch, number of threads and processor"
#define CLI_HELP_MODEL "model: a GGUF, or a folder (without: the one that comes with kquant)"
#define CLI_HELP_THREADS "threads; 0 is one for each processor that may be used"
#define CLI_KV_ALIASES "-ctk --cache-type-k -ctv --cache-type-v"

/* ---- terminal, tables, JSON (progress.c, table.c, json.c) ------------------------------------------------------------------ */

/* Columns of the terminal behind a stream: COLUMNS, what the terminal says, or 80. */
int cli_columns(FILE *stream);
/* Draws `label`, a bar and the time left on stderr, at most ten times a second, on a terminal only; cli_bar_clear removes it. */
void cli_bar(const char *label, double done);
void cli_bar_clear(void);
extern volatile int cli_bar_shown;
/* Begins and ends faint text on stderr, where colour is wanted. */
const char *cli_faint(void);
const char *cli_plain(void);

typedef struct cli_column {
    const char *title;
    bool right;    /* numbers */
    bool flexible; /* may be cut in its middle to make the table fit */
} cli_column;
typedef struct cli_table {
    const cli_column *columns;
    size_t n_columns, n_rows, capacity;
    char **cells; /* [n_rows][n_columns] */
} cli_table;
/* Cells are copied; what does not print is escaped. */
void cli_table_row(cli_table *t, const char *const *cells);
void cli_table_print(const cli_table *t, FILE *out, int width);
void cli_table_free(cli_table *t);
/* Text that is safe to show on one line: bytes that do not print become \n, \t or \xHH. Cut to `width` columns (0: whole), in the
 * middle when `middle`. The caller frees it. */
char *cli_show(const char *data, size_t size, int width, bool middle);
int cli_width(const char *text); /* columns of what cli_show made */
/* "5.53 MiB", "8.4 M": into a buffer, which is returned. */
typedef struct cli_number { char text[32]; } cli_number;
cli_number cli_bytes(uint64_t bytes);
cli_number cli_count(uint64_t count);
cli_number cli_rate(double rate); /* without an exponent: "0.123", "1.23", "12.3", "12690" */

/* A JSON document, written as it is told. `key` is NULL in arrays. Objects and arrays of objects take a line a member; an array
 * begun as a list stays on one line. Strings may hold any bytes: what is not UTF-8 becomes U+FFFD. NaN and infinities become null. */
typedef struct cli_json {
    FILE *out;
    int depth;
    bool keyed;           /* a key was written; its value comes next */
    uint64_t inner, list; /* bit `depth`: something was written; it is a list */
} cli_json;
void cli_json_object(cli_json *j, const char *key);
void cli_json_array(cli_json *j, const char *key);
void cli_json_list(cli_json *j, const char *key);
void cli_json_end(cli_json *j, char bracket); /* '}' or ']' */
void cli_json_key(cli_json *j, const char *key, size_t size); /* any bytes; the value comes next, with key NULL */
void cli_json_bytes(cli_json *j, const char *key, const char *data, size_t size);
void cli_json_string(cli_json *j, const char *key, const char *text);
void cli_json_u64(cli_json *j, const char *key, uint64_t v);
void cli_json_i64(cli_json *j, const char *key, int64_t v);
void cli_json_f64(cli_json *j, const char *key, double v); /* the shortest text that reads back as v */
void cli_json_f32(cli_json *j, const char *key, float v);
void cli_json_bool(cli_json *j, const char *key, bool v);
void cli_json_null(cli_json *j, const char *key);

#endif
