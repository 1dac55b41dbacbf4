/* SPDX-License-Identifier: MIT */
/* The parts of cli that a shell script reaches badly: parsing by table, JSON, text that is safe to show, tables, wrapped lines. */
#include "cli/cli.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- options ---------------------------------------------------------------------------------------------------------------- */

typedef struct values {
    cli_values common;
    bool json, no_echo;
    int64_t n;
    double temp;
    const char *text, *file;
    int kv;
} values;

static const cli_option options[] = {
    {.kind = CLI_HEADING, .help = "All"},
    {.names = "--json", .aliases = "--ids", CLI_IS_FLAG(json), .help = "j"},
    {.names = "--no-echo", CLI_IS_FLAG(no_echo), .help = "e"},
    {.names = "-n --predict", .aliases = "--max-tokens", CLI_IS_WHOLE(n, "N", -1, INT32_MAX), .fallback = "-1", .help = "n"},
    {.names = "--temp", CLI_IS_NUMBER(temp, "T", 0, 100), .fallback = "0.8", .help = "t"},
    {.names = "-p --prompt", CLI_IS_TEXT(text, "TEXT"), .help = "p"},
    {.names = "-f --file", CLI_IS_FILE(file), .help = "f"},
    {.names = "--kv", .aliases = "-ctk", CLI_IS_CHOICE(kv, "TYPE", "f16 f32"), .fallback = "f32", .help = "k"},
};
static const cli_command command = {.name = "tell", .aliases = "say speak", .usage = "[-p TEXT]", .summary = "s", .description = "d", .options = options,
                                    .n_options = CLI_COUNT(options), .values_size = sizeof(values), .max_args = 2};
const cli_command *const cli_commands[] = {&command, NULL};

static char message[256];

static bool parse_list(values *v, char **list) {
    int n = 0;
    while (list[n]) n++;
    message[0] = 0;
    return cli_parse(&command, n, list, v, message, sizeof message);
}
#define PARSE(v, ...) parse_list(v, (char *[]){__VA_ARGS__, NULL})
#define REFUSE(text, ...)                      \
    do {                                       \
        values refused;                        \
        assert_false(PARSE(&refused, __VA_ARGS__)); \
        assert_string_equal(message, text);    \
    } while (0)

static void defaults_and_values(void **state) {
    (void)state;
    values v;
    assert_true(parse_list(&v, (char *[]){NULL}));
    assert_true(!v.json && !v.no_echo && !v.text && !v.file && v.n == -1 && v.temp == 0.8 && v.kv == 1 && v.common.n_args == 0);
    assert_true(PARSE(&v, "--json", "-n", "-1", "--temp=0.25", "-p", "--json", "one", "--file", "-", "two", "-ctk", "f16"));
    assert_true(v.json && v.n == -1 && v.temp == 0.25 && v.kv == 0);
    assert_string_equal(v.text, "--json");
    assert_string_equal(v.file, "-");
    assert_int_equal(v.common.n_args, 2);
    assert_string_equal(v.common.args[0], "one");
    assert_string_equal(v.common.args[1], "two");
    assert_true(PARSE(&v, "-", "--", "--json")); /* a dash alone is an argument, and so is all after -- */
    assert_true(!v.json && v.common.n_args == 2);
    assert_true(PARSE(&v, "--prompt=a=b", "--max_tokens", "7")); /* the first = counts; _ is - */
    assert_string_equal(v.text, "a=b");
    assert_true(v.n == 7);
    assert_true(PARSE(&v, "--prompt="));
    assert_string_equal(v.text, "");
    assert_true(PARSE(&v, "-pHello there", "-n2", "-f-", "-ctk", "f16")); /* a name in full goes before a value behind a letter */
    assert_string_equal(v.text, "Hello there");
    assert_string_equal(v.file, "-");
    assert_true(v.n == 2 && v.kv == 0);
    assert_true(PARSE(&v, "-n-1", "-p-n") && v.n == -1);
    assert_string_equal(v.text, "-n");
}

static void the_last_of_two_wins(void **state) {
    (void)state;
    values v;
    assert_true(PARSE(&v, "-n", "1", "--predict=2", "--max-tokens", "3") && v.n == 3);
    assert_true(PARSE(&v, "--json", "--no-json") && !v.json);
    assert_true(PARSE(&v, "--no-ids", "--json") && v.json);
    assert_true(PARSE(&v, "--no-echo") && v.no_echo);
    assert_true(PARSE(&v, "--no-echo", "--echo") && !v.no_echo);
    assert_true(PARSE(&v, "-h", "--nonsense") && v.common.help);
}

static void refusals_name_the_option_and_its_limits(void **state) {
    (void)state;
    static const char *const no_numbers[] = {"", " 1", "1 ", "+1", "1x", "0x10", "1.5", "-2", "2147483648", "99999999999999999999", "--", "- 1", "1e3"};
    for (size_t i = 0; i < CLI_COUNT(no_numbers); i++) {
        values v;
        assert_false(PARSE(&v, "-n", (char *)(uintptr_t)no_numbers[i]));
        char expected[256];
        snprintf(expected, sizeof expected, "-n: '%s' is not a whole number from -1 to 2147483647", no_numbers[i]);
        assert_string_equal(message, expected);
    }
    static const char *const no_temps[] = {"", " 1", "1 ", "nan", "inf", "-inf", "1e999", "0x1p3", "-0.1", "100.1", "1,5", "e", ".", "+", "1e"};
    for (size_t i = 0; i < CLI_COUNT(no_temps); i++) {
        values v;
        assert_false(PARSE(&v, "--temp", (char *)(uintptr_t)no_temps[i]));
        char expected[256];
        snprintf(expected, sizeof expected, "--temp: '%s' is not a number from 0 to 100", no_temps[i]);
        assert_string_equal(message, expected);
    }
    REFUSE("--kv: 'f8' is none of: f16 f32", "--kv", "f8");
    REFUSE("--kv: 'f' is none of: f16 f32", "--kv=f");
    REFUSE("-f: the name of the file is empty", "-f", "");
    REFUSE("-p needs a value: -p TEXT", "-p");
    REFUSE("--json takes no value", "--json=1");
    REFUSE("unexpected argument 'c'; a text comes after -p, in quotes", "a", "b", "c");
    REFUSE("unknown option '--tmep'; did you mean '--temp'?", "--tmep", "1");
    REFUSE("unknown option '--tmep'; did you mean '--temp'?", "--tmep=1");
    REFUSE("unknown option '--pred'; did you mean '--predict'?", "--pred", "1");
    REFUSE("unknown option '--max-token'; did you mean '--max-tokens'?", "--max-token", "1");
    REFUSE("-n: '2x' is not a whole number from -1 to 2147483647", "-n2x");
    REFUSE("unknown option '-hx'; did you mean '-h'?", "-hx");
    REFUSE("unknown option '-prompt'; did you mean '--prompt'?", "-prompt", "a");
    REFUSE("unknown option '-ctv'; did you mean '-ctk'?", "-ctv", "f16");
    REFUSE("unknown option '--no-temp'; did you mean '--temp'?", "--no-temp");
    REFUSE("unknown option '--no-help'; did you mean '--help'?", "--no-help");
    char longest[1000];
    memset(longest, '-', sizeof longest);
    longest[sizeof longest - 1] = 0;
    values v;
    assert_false(PARSE(&v, longest));
}

static void nearest_names(void **state) {
    (void)state;
    assert_int_equal(cli_distance("", "abc", 3), 3);
    assert_int_equal(cli_distance("abc", "abc", 3), 0);
    assert_int_equal(cli_distance("acb", "abc", 3), 1);
    assert_int_equal(cli_distance("kitten", "sitting", 7), 3);
    assert_int_equal(cli_distance("ca", "abc", 3), 3); /* a swapped pair is not edited again */
    assert_ptr_equal(cli_command_find("speak"), &command);
    assert_null(cli_command_find("spea"));
    assert_null(cli_command_find("say speak"));
    assert_string_equal(cli_command_hint("speek").text, "; did you mean 'tell'?");
    assert_string_equal(cli_command_hint("sp").text, "; did you mean 'tell'?");
    assert_string_equal(cli_command_hint("t").text, "; did you mean 'tell'?");
    assert_string_equal(cli_command_hint("yell").text, "; did you mean 'tell'?");
    assert_string_equal(cli_command_hint("sleek").text, "; there are tell"); /* two edits in five letters */
    assert_string_equal(cli_command_hint("").text, "; there are tell");
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------- */

typedef struct sink {
    char *text;
    size_t size;
    cli_json j;
} sink;

static void expect(sink *s, const char *wanted) {
    fclose(s->j.out);
    assert_int_equal(s->size, strlen(wanted));
    assert_string_equal(s->text, wanted);
    free(s->text);
}
#define START(s) ((s).j.out = open_memstream(&(s).text, &(s).size))

static void json_layout(void **state) {
    (void)state;
    sink s = {0};
    START(s);
    cli_json_list(&s.j, NULL);
    cli_json_u64(&s.j, NULL, UINT64_MAX);
    cli_json_i64(&s.j, NULL, INT64_MIN);
    cli_json_bool(&s.j, NULL, true);
    cli_json_null(&s.j, NULL);
    cli_json_end(&s.j, ']');
    expect(&s, "[18446744073709551615, -9223372036854775808, true, null]\n");

    s = (sink){0};
    START(s);
    cli_json_object(&s.j, NULL);
    cli_json_key(&s.j, "k\0\"", 3);
    cli_json_list(&s.j, NULL);
    cli_json_u64(&s.j, NULL, 1);
    cli_json_u64(&s.j, NULL, 2);
    cli_json_end(&s.j, ']');
    cli_json_array(&s.j, "d");
    cli_json_object(&s.j, NULL);
    cli_json_end(&s.j, '}');
    cli_json_object(&s.j, NULL);
    cli_json_null(&s.j, "n");
    cli_json_end(&s.j, '}');
    cli_json_end(&s.j, ']');
    cli_json_end(&s.j, '}');
    expect(&s, "{\n  \"k\\u0000\\\"\": [1, 2],\n  \"d\": [\n    {},\n    {\n      \"n\": null\n    }\n  ]\n}\n");
}

static void json_strings(void **state) {
    (void)state;
#define BAD "\xef\xbf\xbd"
    static const struct {
        const char *in;
        size_t size;
        const char *out;
    } cases[] = {
        {"", 0, ""},
        {"a\"b\\c/", 6, "a\\\"b\\\\c/"},
        {"\n\t\r\0\x1b\x7f", 6, "\\n\\t\\r\\u0000\\u001b\\u007f"},
        {"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80"},
        {"\x80", 1, BAD},
        {"\xc3", 1, BAD},
        {"\xc3(", 2, BAD "("},
        {"\xc0\x80", 2, BAD BAD},             /* overlong */
        {"\xe0\x9f\xbf", 3, BAD BAD BAD},     /* overlong */
        {"\xed\xa0\x80", 3, BAD BAD BAD},     /* a surrogate */
        {"\xf4\x90\x80\x80", 4, BAD BAD BAD BAD}, /* above U+10FFFF */
        {"\xf0\x9f\x98", 3, BAD BAD BAD},     /* cut */
        {"\xff\xfe", 2, BAD BAD},
        {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 10, "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"}, /* the last ones that are fine */
    };
    for (size_t i = 0; i < CLI_COUNT(cases); i++) {
        sink s = {0};
        START(s);
        cli_json_bytes(&s.j, NULL, cases[i].in, cases[i].size);
        char wanted[128];
        snprintf(wanted, sizeof wanted, "\"%s\"", cases[i].out);
        expect(&s, wanted);
    }
}

static void json_numbers_read_back(void **state) {
    (void)state;
    uint64_t random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = random ^ random >> 29;
        uint32_t half = (uint32_t)(bits >> 32);
        double d;
        float f;
        memcpy(&d, &bits, 8);
        memcpy(&f, &half, 4);
        if (i == 0) d = DBL_MAX, f = FLT_MAX;
        if (i == 1) d = 5e-324, f = 1e-45f;
        if (i == 2) d = -0.0, f = -0.0f;
        if (!isfinite(d) || !isfinite(f)) continue;
        sink s = {0};
        START(s);
        cli_json_f64(&s.j, NULL, d);
        fclose(s.j.out);
        assert_true(strtod(s.text, NULL) == d);
        free(s.text);
        s = (sink){0};
        START(s);
        cli_json_f32(&s.j, NULL, f);
        fclose(s.j.out);
        assert_true(strtof(s.text, NULL) == f);
        assert_true(s.size <= 15);
        free(s.text);
    }
    sink s = {0};
    START(s);
    cli_json_list(&s.j, NULL);
    cli_json_f32(&s.j, NULL, 0.1f);
    cli_json_f64(&s.j, NULL, 0.1);
    cli_json_f64(&s.j, NULL, (double)INFINITY);
    cli_json_f32(&s.j, NULL, NAN);
    cli_json_end(&s.j, ']');
    expect(&s, "[0.1, 0.1, null, null]\n");
}

/* ---- text and tables ---------------------------------------------------------------------------------------------------------- */

static void shown(const char *data, size_t size, int width, bool middle, const char *wanted) {
    char *text = cli_show(data, size, width, middle);
    assert_string_equal(text, wanted);
    if (width > 0) assert_true(cli_width(text) <= width);
    free(text);
}

static void text_is_safe_to_show(void **state) {
    (void)state;
    shown("plain", 5, 0, false, "plain");
    shown("a\nb\tc\r\x1b[31m\0\x7f", 13, 0, false, "a\\nb\\tc\\r\\x1b[31m\\x00\\x7f");
    shown("\xc3\xa9 \xe4\xbd\xa0", 6, 0, false, "\xc3\xa9 \xe4\xbd\xa0");
    shown("\xff\xc3", 2, 0, false, "\\xff\\xc3");
    shown("\xe2\x80\xae" "abc", 6, 0, false, "\\xe2\\x80\\xae" "abc"); /* U+202E turns what follows around */
    shown("\xc2\x9b", 2, 0, false, "\\xc2\\x9b");                       /* a C1 control */
    shown("0123456789", 10, 10, false, "0123456789");
    shown("0123456789", 10, 9, false, "012345...");
    shown("0123456789", 10, 9, true, "012...789");
    shown("0123456789", 10, 8, true, "012...89");
    shown("0123456789", 10, 2, true, "..");
    shown("\xe4\xbd\xa0\xe4\xbd\xa0\xe4\xbd\xa0\xe4\xbd\xa0", 12, 7, false, "\xe4\xbd\xa0\xe4\xbd\xa0..."); /* two columns each */
    shown("\xe4\xbd\xa0\xe4\xbd\xa0\xe4\xbd\xa0\xe4\xbd\xa0", 12, 6, true, "\xe4\xbd\xa0...");
    for (size_t size = 0; size < 40; size++) {
        for (int width = 1; width < 45; width++) {
            char data[40];
            for (size_t i = 0; i < size; i++) data[i] = (char)(i * 37 + (size_t)width);
            for (int middle = 0; middle < 2; middle++) {
                char *text = cli_show(data, size, width, middle);
                assert_true(cli_width(text) <= width);
                free(text);
            }
        }
    }
}

static void sizes_are_rounded(void **state) {
    (void)state;
    assert_string_equal(cli_bytes(0).text, "0 B");
    assert_string_equal(cli_bytes(1023).text, "1023 B");
    assert_string_equal(cli_bytes(1024).text, "1.00 KiB");
    assert_string_equal(cli_bytes(5793856).text, "5.53 MiB");
    assert_string_equal(cli_bytes((1 << 20) - 1).text, "1.00 MiB");
    assert_string_equal(cli_bytes(UINT64_MAX).text, "16.00 EiB");
    assert_string_equal(cli_count(999).text, "999");
    assert_string_equal(cli_count(999999).text, "1.00 M");
    assert_string_equal(cli_count(8393984).text, "8.39 M");
    assert_string_equal(cli_count(70553706496).text, "70.55 B");
    assert_string_equal(cli_count(UINT64_MAX).text, "18446.74 Q");
    assert_string_equal(cli_rate(0.01234).text, "0.012");
    assert_string_equal(cli_rate(0.9996).text, "1.00");
    assert_string_equal(cli_rate(9.996).text, "10.0");
    assert_string_equal(cli_rate(99.96).text, "100");
    assert_string_equal(cli_rate(12690.4).text, "12690");
    assert_string_equal(cli_rate(1e300).text, "1000000000000000");
}

static void tables_fit(void **state) {
    (void)state;
    static const cli_column columns[] = {{"name", false, true}, {"bytes", true, false}, {.title = "x"}};
    cli_table t = {.columns = columns, .n_columns = 3};
    cli_table_row(&t, (const char *[]){"a-very-long-name-of-a-tensor", "12", "y"});
    cli_table_row(&t, (const char *[]){"b\n", "123456", ""});
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cli_table_print(&t, out, 80);
    cli_table_print(&t, out, 24);
    cli_table_print(&t, out, 1);
    fclose(out);
    assert_string_equal(text, "name                           bytes  x\n"
                              "a-very-long-name-of-a-tensor      12  y\n"
                              "b\\n                           123456  \n"
                              "name            bytes  x\n"
                              "a-ver...ensor      12  y\n"
                              "b\\n            123456  \n"
                              "name       bytes  x\n"
                              "a-v...or      12  y\n"
                              "b\\n       123456  \n");
    free(text);
    cli_table_free(&t);
}

static void lines_are_wrapped(void **state) {
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    cli_wrap(out, "one two three\nfour\n\nfive", 2, 2, 11);
    cli_wrap(out, "", 0, 0, 80);
    cli_wrap(out, "a-word-that-is-too-long for it", 0, 1, 5);
    fclose(out);
    assert_string_equal(text, "one two\n  three\n  four\n\n  five\n\na-word-that-is-too-long\n for\n it\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_values), cmocka_unit_test(the_last_of_two_wins), cmocka_unit_test(refusals_name_the_option_and_its_limits),
        cmocka_unit_test(nearest_names),       cmocka_unit_test(json_layout),          cmocka_unit_test(json_strings),
        cmocka_unit_test(json_numbers_read_back), cmocka_unit_test(text_is_safe_to_show), cmocka_unit_test(sizes_are_rounded),
        cmocka_unit_test(tables_fit),          cmocka_unit_test(lines_are_wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
