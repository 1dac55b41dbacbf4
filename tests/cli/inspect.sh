# SPDX-License-Identifier: MIT
# kquant inspect
. tests/cli/common

run inspect $default_model
exits 0 && quiet && narrow && plain
for words in "qwen3" "GGUF 3, 5.53 MiB" "8.39 M (8393984) in 90 tensors" "5.26 MiB, 5.26 bits per weight" "gpt2, 8192 tokens" \
    "tokenizer.chat_template" "blk.7.ffn_up.weight" "256 x 768"; do
    prints "$words"
done
run inspect --tensors $default_model
exits 0
check "90 tensors and a title" [ "$(wc -l <"$out")" -eq 91 ]
run inspect --metadata $default_model
exits 0
check "26 keys and a title" [ "$(wc -l <"$out")" -eq 27 ]
for columns in 40 60 200; do
    COLUMNS=$columns
    export COLUMNS
    run inspect $default_model
    exits 0
    [ $columns -lt 60 ] || check "fits $columns columns" [ "$(LC_ALL=C.UTF-8 wc -L <"$out")" -le $columns ]
    unset COLUMNS
done

run inspect --json $default_model
exits 0 && quiet && json
json architecture qwen3
json parameters 8393984
json metadata qwen3.rope.freq_base 10000
prints '"qwen3.attention.layer_norm_rms_epsilon": 1e-06,'
json metadata tokenizer.ggml.add_bos_token false
json metadata tokenizer.ggml.tokens length 8192
json metadata tokenizer.ggml.tokens array_of string
json tensors 0 name output_norm.weight
json tensors 1 shape '[256,8192]'
json tensors 1 type q6_k
json types 0 tensors 48
run inspect --json --full $default_model
exits 0 && json
json metadata tokenizer.ggml.tokens 8191 '<|im_end|>'
json metadata tokenizer.ggml.token_type 0 1
run inspect --json --tensors $default_model
exits 0 && json
check "no metadata" [ "$("$json_check" metadata <"$out" 2>/dev/null)" = "" ]

# what is no model
run inspect "$work/nothing.gguf"
refuses 1 "nothing.gguf: cannot open: No such file or directory"
run inspect "$work"
refuses 1 "is a directory"
: >"$work/empty.gguf"
run inspect "$work/empty.gguf"
refuses 3 "empty.gguf: "
echo "this is no model" >"$work/text.gguf"
run inspect "$work/text.gguf"
refuses 3 "text.gguf: "
head -c 100000 $default_model >"$work/cut.gguf"
run inspect "$work/cut.gguf"
refuses 3 "cut.gguf: "
run inspect --json "$work/cut.gguf"
refuses 3 "cut.gguf: "
printf 'x' >"$work/a
b$(printf '\033')[31m.gguf"
run inspect "$work/a
b$(printf '\033')[31m.gguf"
refuses 3 'a\x0ab\x1b[31m.gguf: '

# the result goes nowhere
ran="kquant inspect >/dev/full"
"$kquant" inspect $default_model >/dev/full 2>"$err"
code=$?
: >"$out"
refuses 1 "cannot write to standard output: No space left on device"
ran="kquant inspect | head -n 1"
{ "$kquant" inspect --json --full $default_model 2>"$err" || echo $? >"$work/code"; } | head -n 1 >"$out"
quiet
check "ends by SIGPIPE" [ "$(cat "$work/code")" = 141 ]
finish
