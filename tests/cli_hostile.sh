#!/bin/sh
# SPDX-License-Identifier: MIT
# cli_hostile.sh KQUANT DIRECTORY: every file that DIRECTORY/REFUSE lists must be refused by `KQUANT inspect FILE` and `KQUANT verify FILE` with exit 3,
# nothing on stdout, one line on stderr that names the file, in little memory and time; every file in ACCEPT must pass.
kquant=$1 dir=$2 failed=0 n=0
out=$(mktemp) || exit 1
err=$(mktemp) || exit 1
trap 'rm -f "$out" "$err"' EXIT

# A sanitizer reserves terabytes of addresses: the limit is for the other builds.
if ! grep -q '__[at]san_init' "$kquant"; then ulimit -v 500000; fi

fail() {
    echo "FAIL $command $file: $1"
    sed 's/^/    stderr: /' "$err" | head -5
    failed=$((failed + 1))
}

refuse() { # COMMAND: of $file
    command=$1
    timeout 10 "$kquant" "$command" "$file" >"$out" 2>"$err" </dev/null
    code=$?
    name=${file##*/}
    stem=${name%0000?-of-0000?.gguf} # of a split model the part at fault is named
    lines=0 line=
    while IFS= read -r line || [ -n "$line" ]; do lines=$((lines + 1)) last=$line; done <"$err"
    if [ $code -ne 3 ]; then fail "exit $code, must be 3"
    elif [ -s "$out" ]; then fail "there is something on stdout"
    elif [ $lines -ne 1 ]; then fail "stderr has $lines lines, must be 1"
    else
        case $last in *"$name"* | *"$stem"0000*) ;; *) fail "stderr does not name the file" ;; esac
    fi
}
while IFS= read -r file; do
    n=$((n + 1))
    refuse inspect
    refuse verify
done <"$dir/REFUSE"

command=inspect
while IFS= read -r file; do
    n=$((n + 1))
    timeout 10 "$kquant" inspect "$file" >"$out" 2>"$err" </dev/null
    code=$?
    if [ $code -ne 0 ]; then fail "exit $code for a valid file"
    elif ! [ -s "$out" ]; then fail "nothing on stdout"
    fi
done <"$dir/ACCEPT"

echo "$n files, $failed failures"
[ "$failed" -eq 0 ] && [ "$n" -gt 500 ]
