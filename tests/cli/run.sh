# SPDX-License-Identifier: MIT
# kquant run
. tests/cli/common
prompt="Once upon a time there was a king who"

# ---- what it prints

run run -p "$prompt" -n 16 --temp 0
exits 0 && plain
for words in "model       tale, 8.39 M parameters, 5.26 MiB, loaded in" "prompt      9 tokens in" "generation  16 tokens in" "tokens/s" \
    "stopped     all tokens written; context 25 of 2048; seed "; do
    says "$words"
done
check "the prompt comes first" grep -q "^$prompt " "$out"
cp "$out" "$work/whole"
run run -p "$prompt" -n 16 --temp 0 --no-display-prompt
exits 0
check "prompt and continuation are the whole" [ "$prompt$(cat "$out")" = "$(cat "$work/whole")" ]
run generate --prompt "$prompt" --max_new_tokens 16 --temperature 0 -q
exits 0 && quiet
check "the same by other names" cmp -s "$out" "$work/whole"
run run -n 0 -p "$prompt" -q
exits 0 && quiet
check "the prompt alone, without a line break" [ "$(wc -c <"$out")" -eq ${#prompt} ]
run run -n 4
exits 0 && prints "Once upon a time"

# ---- where the text comes from

printf '%s\n' "$prompt" >"$work/prompt"
run run -f "$work/prompt" -n 16 --temp 0 -q
exits 0
check "a file's last line break does not count" cmp -s "$out" "$work/whole"
ran="kquant run -f -"
"$kquant" run -f - -n 16 --temp 0 <"$work/prompt" >"$out" 2>"$err"
code=$?
exits 0
check "standard input" cmp -s "$out" "$work/whole"
run run -p 'one\ntwo' -n 0
exits 0 && says "-e makes it a line break" && prints 'one\ntwo'
run run -e -p 'one\ntwo\x41' -n 0
exits 0
check "escapes" [ "$(cat "$out")" = "one
twoA" ]
run run -p "" -n 4 --temp 0
exits 0 && says "prompt      1 token in"
run run -p "<|im_start|>user" -n 0 -q
exits 0
check "special tokens are not printed" [ "$(cat "$out")" = user ]
run run -p "<|im_start|>user" -n 0 -q --special
exits 0
check "--special prints them" [ "$(cat "$out")" = "<|im_start|>user" ]
run run -p x -f "$work/prompt"
refuses 2 "with -p or with -f, not both"
run run -m $default_model
refuses 2 "give the text to continue: -p TEXT, or -f FILE"
run run -m "$work/nothing.gguf"
refuses 1 "nothing.gguf: cannot open: No such file or directory"
run run -m "$work/nothing.gguf" -f "$work/nothing"
refuses 1 "nothing.gguf: cannot open: No such file or directory"
run run -f "$work/nothing"
refuses 1 "nothing: cannot open: No such file or directory"
run run -f "$work"
refuses 1 "cannot read: Is a directory"
run run Once upon
refuses 2 "a text comes after -p, in quotes"

# ---- choice of tokens

run run -p "$prompt" -n 40 -s 7 -q
cp "$out" "$work/seven"
for words in "-s 7" "--seed=7 -t 1" "-s 7 -t 2" "-s 7 -b 2"; do
    run run -p "$prompt" -n 40 -q $words
    check "the same seed, the same text" cmp -s "$out" "$work/seven"
done
run run -p "$prompt" -n 40 -s 8 -q
check "another seed, another text" [ "$(cat "$out")" != "$(cat "$work/seven")" ]
for words in "--top-k 1" "--top-p 0" "--min-p 1"; do
    run run -p "$prompt" -n 16 -q $words
    exits 0
    check "only the likeliest is left" cmp -s "$out" "$work/whole"
done
any="-n 40 -s 7 -q --temp 2 --top-p 1 --min-p 0" # so hot that the cut at 40 shows
# shellcheck disable=SC2086
run run -p "$prompt" $any
cp "$out" "$work/forty"
# shellcheck disable=SC2086
run run -p "$prompt" $any --top-k 0
exits 0
check "--top-k 0 is not 40" [ "$(cksum <"$out")" != "$(cksum <"$work/forty")" ]
cp "$out" "$work/all"
# shellcheck disable=SC2086
run run -p "$prompt" $any --top-k -1
exits 0
check "--top-k -1 is --top-k 0" cmp -s "$out" "$work/all"
run run -p "$prompt" -n 64 --temp 0 -q --repeat-penalty 2 --repeat-last-n -1 --presence-penalty 1 --frequency-penalty 1
exits 0
check "penalties change the text" [ "$(head -c 200 "$out")" != "$(head -c 200 "$work/whole")" ]

# The greedy text in the exact mode does not depend on batches, threads or the processor. It was made by this program; its tokens are
# those of the same model's bf16 weights (tests of the engine) as far as rounding to 4 bits allows.
for words in "" "-t 1" "-b 1" "-b 3 -t 2" "--kv f32"; do
    # shellcheck disable=SC2086
    run run -p "$prompt" -n 64 --temp 0 --exact -q $words
    exits 0
    check "the text on record" cmp -s "$out" tests/cli/tale-greedy.txt
done

# ---- where it ends

run run -p "$prompt" -c 12 --temp 0 --ignore-eos
exits 0 && says "context full; context 12 of 12" && says "note: the context is full; -c makes it larger"
run run -p "$prompt" -c 9
exits 0 && says "generation  0 tokens"
run run -p "$prompt" -c 8
refuses 1 "the prompt has 9 tokens, but the context only 8; -c makes it larger"
run run -p "$prompt" -c 4000 -n 1
exits 0 && says "note: the context of 4000 tokens is longer than the 2048 the model was trained with"

# ---- values that mean nothing

while read -r option value; do
    run run -p x "$option" "$value"
    refuses 2 "$option: '$value' is not a"
done <<'END'
-n -2
-n 1.5
-n 9999999999
-n many
-c -1
-t 513
-t -1
-b 0
--temp -1
--temp nan
--temp 1e9
--top-k -2147483649
--top-p 1.1
--min-p -0.1
--seed -2
--seed 4294967296
--repeat-penalty -1
--repeat-last-n -2
--presence-penalty x
--frequency-penalty 1e3
END
run run -p x -n ""
refuses 2 "-n: '' is not a"
run run -p x --kv q8_0
refuses 2 "--kv: 'q8_0' is none of: auto f16 f32"
run run -p x --top-kk 3
refuses 2 "unknown option '--top-kk'; did you mean '--top-k'?"
run run -p
refuses 2 "-p needs a value: -p TEXT"

# ---- files that are no models

run run -m "$work/nothing.gguf" -p x
refuses 1 "nothing.gguf: cannot open: No such file or directory"
run run -m "$work" -p x
refuses 1 "is a directory"
echo "this is no model" >"$work/text.gguf"
run run -m "$work/text.gguf" -p x
refuses 3 "text.gguf: "
head -c 1000000 $default_model >"$work/cut.gguf"
run run -m "$work/cut.gguf" -p x
refuses 3 "cut.gguf: "

# ---- interruption

# start ARGS...: runs in the background, and waits until there is text, however long the machine takes; a hang ends after 100 seconds
start() {
    ran="kquant run $*"
    "$kquant" run -p "$prompt" --ignore-eos "$@" >"$out" 2>"$err" </dev/null &
    process=$!
    watch $process 100
    for _ in $(seq 900); do
        [ "$(wc -c <"$out")" -gt 60 ] && break
        sleep 0.1
    done
}
stop() { # waits for what `start` started
    wait $process
    code=$?
    unwatch
}
: >"$out"
start -c 60000
kill -INT $process
stop
exits 130 && says "stopped     interrupted" && says "generation" && plain
: >"$out"
start -c 60000
kill -TERM $process
stop
exits 143 && says "stopped     interrupted"
# a file that is cut while its pages are mapped and in use
for size in 0 4096 5000000; do
    : >"$out"
    cp $default_model "$work/shrinks.gguf"
    start -c 60000 -q -m "$work/shrinks.gguf"
    check "there is text before the cut" [ "$(wc -c <"$out")" -gt 60 ]
    truncate -s $size "$work/shrinks.gguf"
    stop
    exits 3 && one_line && says "shrinks.gguf: the file became shorter"
done
ran="kquant run | head -c 60"
{ "$kquant" run -p "$prompt" --ignore-eos -c 60000 -q 2>"$err" </dev/null || echo $? >"$work/code"; } | head -c 60 >"$out"
quiet
check "ends by SIGPIPE" [ "$(cat "$work/code")" = 141 ]
ran="kquant run >/dev/full"
"$kquant" run -p "$prompt" --ignore-eos -c 60000 -q >/dev/full 2>"$err" </dev/null
code=$?
: >"$out"
refuses 1 "cannot write to standard output: No space left on device"

# ---- a terminal

if command -v script >/dev/null && script -qec true /dev/null </dev/null >/dev/null 2>&1; then # a container may have no terminals
    terminal() { # VARIABLE=VALUE...: what a terminal of 80 columns sees
        ran="kquant run on a terminal, $*"
        env TERM=xterm COLUMNS=80 "$@" script -qec "'$kquant' run -n 4" /dev/null </dev/null >"$out" 2>&1
        code=$?
        exits 0
    }
    escape=$(printf '\033')
    terminal A=1
    prints "loading [" && prints "$escape[2m" && prints "tokens/s"
    terminal NO_COLOR=1
    prints "loading [" && check "no colour" [ "$(grep -c "$escape\[[0-9]*m" "$out")" -eq 0 ]
    terminal TERM=dumb
    check "no escapes" [ "$(grep -c "$escape" "$out")" -eq 0 ]
fi

# ---- a tree that was moved

mkdir -p "$work/tree/build" "$work/tree/models"
cp "$kquant" "$work/tree/build/kquant"
cp -P "$(dirname "$kquant")"/libkquant.so* "$work/tree/build/"
ran="kquant run, moved"
(cd / && "$work/tree/build/kquant" run -n 1) >"$out" 2>"$err" </dev/null
code=$?
refuses 1 "the default model (tale-q4_k_m.gguf) is not beside this program"
ln -s "$PWD/$default_model" "$work/tree/models/"
(cd / && "$work/tree/build/kquant" run -n 16 --temp 0 -q -p "$prompt") >"$out" 2>"$err" </dev/null
code=$?
exits 0
check "the same text" cmp -s "$out" "$work/whole"
finish
