# SPDX-License-Identifier: MIT
# The front door: commands, options, help, versions, completion, the manual.
. tests/cli/common

run
exits 0 && prints "usage: kquant COMMAND" && prints "inspect" && quiet && narrow
cp "$out" "$work/help"
for words in help --help -h; do
    run $words
    exits 0
    check "the same as a bare kquant" cmp -s "$out" "$work/help"
done
for words in version --version -V; do
    run $words
    exits 0 && quiet
    check "one line" [ "$(cat "$out")" = "kquant $(sed -n 's/^#define KQ_VERSION "\(.*\)"/\1/p' include/kquant/core.h)" ]
done

# what is not there
run inspetc x
refuses 2 "unknown command 'inspetc'; did you mean 'inspect'?"
run ""
refuses 2 "unknown command ''"
run -m model.gguf
refuses 2 "a command comes before the options, as in: kquant run -m"
run inspect --jsno x
refuses 2 "kquant inspect: unknown option '--jsno'; did you mean '--json'?"
run inspect --metdata x
refuses 2 "did you mean '--metadata'?"
run inspect -j x
refuses 2 "unknown option '-j'"
run inspect --json=yes x
refuses 2 "--json takes no value"
run inspect -m
refuses 2 "-m needs a value: -m FILE"
run inspect -m ""
refuses 2 "the name of the file is empty"
run inspect a b
refuses 2 "unexpected argument 'b'"
run inspect -m a b
refuses 2 "give the file once"
run help nope
refuses 2 "unknown command 'nope'; there are run, inspect, "
run nope
refuses 2 "unknown command 'nope'; there are run, inspect, "
run version 1
refuses 2 "unexpected argument '1'"
run completion tcsh
refuses 2 "'tcsh' is none of: bash zsh fish"

# a bare command that needs arguments shows its short help
for command in inspect completion; do
    run $command
    exits 2 && silent && says "usage: kquant $command" && says "See: kquant help $command"
done

# aliases, `--`, the last of two
run show $default_model --metadata
exits 0 && quiet
cp "$out" "$work/first"
for words in "inspect --metadata $default_model" "info --no-metadata --metadata $default_model" "inspect --metadata -- $default_model" \
    "inspect -m nothing --model=$default_model --metadata"; do
    run $words
    exits 0
    check "the same as show" cmp -s "$out" "$work/first"
done

# every command explains itself in 80 columns, the same way everywhere
commands=$(sed -n '/^Commands$/,/^$/s/^  \([a-z]*\) .*/\1/p' "$work/help")
check "there are commands" [ -n "$commands" ]
for command in $commands; do
    run help "$command"
    exits 0 && quiet && prints "usage: kquant $command" && prints "--help" && narrow && plain
    check "whole numbers are written in full" [ "$(grep -c "[0-9]e[+-][0-9]" "$out")" -eq 0 ]
    check "no line should end with a space" [ "$(grep -c ' $' "$out")" -eq 0 ]
    cp "$out" "$work/first"
    run "$command" --help
    exits 0 && quiet
    check "--help as help" cmp -s "$out" "$work/first"
    run "$command" -h --no-such-option
    exits 0
done

# completion scripts name every command and option, and the shells that are here can read them
for shell in bash zsh fish; do
    run completion $shell
    exits 0 && quiet
    for command in $commands; do prints "$command"; done
    prints "metadata"
    if command -v $shell >/dev/null; then check "$shell can read it" $shell -n "$out"; fi
done
if command -v bash >/dev/null; then
    run completion bash
    complete() { # WORDS...: what bash offers for the last one
        bash -c '. "$0"; COMP_WORDS=(kquant "$@"); COMP_CWORD=$#; _kquant; echo "${COMPREPLY[*]}"' "$out" "$@"
    }
    check "commands" [ "$(complete ins)" = inspect ]
    check "options" [ "$(complete inspect --me)" = --metadata ]
    check "words" [ "$(complete completion z)" = zsh ]
    check "commands as words" [ "$(complete help vers)" = version ]
fi

# the manual
run help --man
exits 0 && quiet && prints ".TH KQUANT 1" && prints '\-\-metadata'
if command -v man >/dev/null; then
    check "man reads it without a warning" [ -z "$(LC_ALL=C.UTF-8 MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$out" 2>&1 >/dev/null)" ]
fi

# stdout that cannot be written
ran="kquant version >/dev/full"
"$kquant" version >/dev/full 2>"$err"
code=$?
: >"$out"
refuses 1 "cannot write to standard output: No space left on device"
ran="kquant version >&-"
"$kquant" version >&- 2>"$err"
code=$?
refuses 1 "cannot write to standard output"
finish
