/* SPDX-License-Identifier: MIT */
/* Completion for bash, zsh and fish, from the tables. */
#include "cli/cli.h"

#include <string.h>

/* Words of a list, with `separator` between them. */
static void put_words(FILE *out, const char *list, const char *separator, bool *first) {
    size_t length;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL; *first = false) {
        fprintf(out, "%s%.*s", *first ? "" : separator, (int)length, word);
    }
}

static void put_command_names(FILE *out, const cli_command *c, const char *separator) {
    bool first = true;
    put_words(out, c->name, separator, &first);
    put_words(out, c->aliases, separator, &first);
}

/* What the arguments of a command may be, where that is a list. */
static void put_argument_words(FILE *out, const cli_command *c) {
    fputs(c->words, out);
    if (c->words[0]) return;
    for (size_t i = 0; cli_commands[i]; i++) fprintf(out, "%s%s", i ? " " : "", cli_commands[i]->name);
}

/* Text inside single quotes of a shell. `also` names characters that get a backslash besides. */
static void put_quoted(FILE *out, const char *text, const char *also) {
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else {
            if (strchr(also, *text)) putc('\\', out);
            putc(*text, out);
        }
    }
}

/* ---- bash ------------------------------------------------------------------------------------------------------------- */

static void bash_values(FILE *out, const cli_command *c) {
    fputs("    case $prev in\n", out);
    const cli_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)) != NULL; i++) {
        if (!o->argument) continue;
        bool first = true;
        fputs("    ", out);
        put_words(out, o->names, "|", &first);
        put_words(out, o->aliases, "|", &first);
        if (o->kind == CLI_FILE) {
            fputs(") compopt -o default; return ;;\n", out);
        } else if (o->kind == CLI_CHOICE) {
            fprintf(out, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->choices);
        } else {
            fputs(") return ;;\n", out);
        }
    }
    fputs("    esac\n", out);
}

static void bash(FILE *out) {
    fputs("# bash completion for kquant\n_kquant() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
          "  COMPREPLY=()\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W '",
          out);
    for (size_t i = 0; cli_commands[i]; i++) fprintf(out, "%s%s", i ? " " : "", cli_commands[i]->name);
    fputs("' -- \"$cur\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *c = cli_commands[i];
        fputs("  ", out);
        put_command_names(out, c, "|");
        fputs(")\n", out);
        bash_values(out, c);
        fputs("    case $cur in\n    -*) COMPREPLY=($(compgen -W '", out);
        const cli_option *o;
        bool first = true;
        for (size_t j = 0; (o = cli_option_at(c, j)) != NULL; j++) put_words(out, o->names, " ", &first);
        fputs("' -- \"$cur\")) ;;\n", out);
        if (c->max_args > 0 && c->words) {
            fputs("    *) COMPREPLY=($(compgen -W '", out);
            put_argument_words(out, c);
            fputs("' -- \"$cur\")) ;;\n", out);
        } else if (c->max_args > 0) {
            fputs("    *) compopt -o default ;;\n", out);
        }
        fputs("    esac ;;\n", out);
    }
    fputs("  esac\n}\ncomplete -F _kquant kquant\n", out);
}

/* ---- zsh -------------------------------------------------------------------------------------------------------------- */

static void zsh_option(FILE *out, const cli_option *o) {
    bool first = true, several = strchr(o->names, ' ') != NULL;
    fputs(" \\\n      ", out);
    if (several) {
        fputs("'(", out);
        put_words(out, o->names, " ", &first);
        fputs(")'{", out);
        first = true;
        put_words(out, o->names, ",", &first);
        fputs("}'[", out);
    } else {
        fprintf(out, "'%s[", o->names);
    }
    put_quoted(out, o->help, "[]:");
    putc(']', out);
    if (o->argument) fprintf(out, ":%s:", o->argument);
    if (o->kind == CLI_FILE) fputs("_files", out);
    if (o->kind == CLI_CHOICE) fprintf(out, "(%s)", o->choices);
    putc('\'', out);
}

static void zsh(FILE *out) {
    fputs("#compdef kquant\n_kquant() {\n  local -a commands\n  commands=(\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        fprintf(out, "    '%s:", cli_commands[i]->name);
        put_quoted(out, cli_commands[i]->summary, ":");
        fputs("'\n", out);
    }
    fputs("  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n"
          "  shift words\n  (( CURRENT-- ))\n  case $command in\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *c = cli_commands[i];
        fputs("  ", out);
        put_command_names(out, c, "|");
        fputs(")\n    _arguments -S", out);
        const cli_option *o;
        for (size_t j = 0; (o = cli_option_at(c, j)) != NULL; j++) {
            if (o->kind != CLI_HEADING) zsh_option(out, o);
        }
        if (c->max_args > 0 && c->words) {
            fputs(" \\\n      ':argument:(", out);
            put_argument_words(out, c);
            fputs(")'", out);
        } else if (c->max_args > 0) {
            fputs(" \\\n      ':file:_files'", out);
        }
        fputs(" ;;\n", out);
    }
    fputs("  esac\n}\nif [ \"$funcstack[1]\" = _kquant ]; then _kquant \"$@\"; else compdef _kquant kquant; fi\n", out);
}

/* ---- fish ------------------------------------------------------------------------------------------------------------- */

static void fish_option(FILE *out, const cli_command *c, const cli_option *o) {
    fputs("complete -c kquant -n '__fish_seen_subcommand_from ", out);
    put_command_names(out, c, " ");
    putc('\'', out);
    const char *list = o->names;
    size_t length;
    for (const char *word; (word = cli_next_word(&list, &length)) != NULL;) {
        int dashes = word[1] == '-' ? 2 : 1;
        fprintf(out, " -%c %.*s", dashes == 2 ? 'l' : length == 2 ? 's' : 'o', (int)length - dashes, word + dashes);
    }
    if (o->kind == CLI_FILE) fputs(" -r -F", out);
    else if (o->kind == CLI_CHOICE) fprintf(out, " -x -a '%s'", o->choices);
    else if (o->argument) fputs(" -x", out);
    fputs(" -d '", out);
    put_quoted(out, o->help, "\\");
    fputs("'\n", out);
}

static void fish(FILE *out) {
    fputs("# fish completion for kquant\ncomplete -c kquant -f\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *c = cli_commands[i];
        fprintf(out, "complete -c kquant -n __fish_use_subcommand -a %s -d '", c->name);
        put_quoted(out, c->summary, "\\");
        fputs("'\n", out);
        if (c->max_args > 0) {
            fputs("complete -c kquant -n '__fish_seen_subcommand_from ", out);
            put_command_names(out, c, " ");
            fputs(c->words ? "' -a '" : "' -F", out);
            if (c->words) {
                put_argument_words(out, c);
                putc('\'', out);
            }
            putc('\n', out);
        }
        const cli_option *o;
        for (size_t j = 0; (o = cli_option_at(c, j)) != NULL; j++) {
            if (o->kind != CLI_HEADING) fish_option(out, c, o);
        }
    }
}

bool cli_help_completion(const char *shell, FILE *out) {
    static const struct {
        const char *name;
        void (*write)(FILE *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < CLI_COUNT(shells); i++) {
        if (!strcmp(shell, shells[i].name)) {
            shells[i].write(out);
            return true;
        }
    }
    return false;
}
