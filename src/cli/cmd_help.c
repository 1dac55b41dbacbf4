/* SPDX-License-Identifier: MIT */
/* kquant help, and kquant completion */
#include "cli/cli.h"

#include <string.h>

typedef struct values {
    cli_values common;
    bool man;
} values;

static const cli_option options[] = {
    {.names = "--man", CLI_IS_FLAG(man), .help = "print the whole manual as a man page"},
};

static int run_help(const void *given) {
    const values *v = given;
    if (v->man) {
        cli_help_man(stdout);
    } else if (v->common.n_args == 0) {
        cli_help_all(stdout);
    } else {
        const char *name = v->common.args[0];
        const cli_command *c = cli_command_find(name);
        if (!c) return cli_fail_usage(&cli_help, "unknown command '%s'%s", name, cli_command_hint(name).text);
        cli_help_command(c, stdout);
    }
    return CLI_FINE;
}

const cli_command cli_help = {
    .name = "help",
    .usage = "[COMMAND] [--man]",
    .summary = "Show the commands, or the options of one",
    .description = "Shows all commands, or everything about one of them.",
    .examples = "kquant help run\nkquant help --man | man -l -",
    .options = options,
    .n_options = CLI_COUNT(options),
    .values_size = sizeof(values),
    .max_args = 1,
    .words = "",
    .run = run_help,
};

static int run_completion(const void *given) {
    const cli_values *v = given;
    if (v->n_args == 1 && cli_help_completion(v->args[0], stdout)) return CLI_FINE;
    return cli_fail_usage(&cli_completion, "'%s' is none of: %s", v->n_args ? v->args[0] : "", cli_completion.words);
}

const cli_command cli_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "Print a shell's completion script",
    .description = "Prints a script that makes a shell complete kquant's commands, options and values.",
    .examples = "eval \"$(kquant completion bash)\"\nkquant completion zsh > ~/.zfunc/_kquant\n"
                "kquant completion fish > ~/.config/fish/completions/kquant.fish",
    .values_size = sizeof(cli_values),
    .max_args = 1,
    .needs_arguments = true,
    .words = "bash zsh fish",
    .run = run_completion,
};
