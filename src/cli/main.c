/* SPDX-License-Identifier: MIT */
/* kquant: finds the command, reads its options, runs it. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

const cli_command *const cli_commands[] = {
#define COMMAND(id) &cli_##id,
#include "cli/commands.def"
#undef COMMAND
    NULL,
};

static int run_command(const cli_command *c, int argc, char **argv) {
    char message[512];
    void *values = cli_alloc(1, c->values_size);
    int code;
    if (!cli_parse(c, argc, argv, values, message, sizeof message)) {
        code = cli_fail_usage(c, "%s", message);
    } else {
        const cli_values *v = values;
        if (v->help) {
            cli_help_command(c, stdout);
            code = CLI_FINE;
        } else if (c->needs_arguments && v->n_args == 0 && v->n_options == 0) {
            cli_help_short(c, stderr);
            code = CLI_USAGE;
        } else {
            code = c->run(values);
        }
    }
    free(values);
    return code;
}

int main(int argc, char **argv) {
    cli_signals_start();
    const char *name = argc > 1 ? argv[1] : "help";
    int code;
    const cli_command *c = cli_command_find(name);
    if (!strcmp(name, "-h") || !strcmp(name, "--help")) c = &cli_help;
    if (!strcmp(name, "-V") || !strcmp(name, "--version")) c = &cli_version;
    if (c) {
        code = run_command(c, argc > 2 ? argc - 2 : 0, argc > 2 ? argv + 2 : argv);
    } else if (name[0] == '-') {
        code = cli_fail(CLI_USAGE, "a command comes before the options, as in: kquant run %s", name);
    } else {
        code = cli_fail(CLI_USAGE, "unknown command '%s'%s", name, cli_command_hint(name).text);
    }
    return cli_stdout_close(code);
}
