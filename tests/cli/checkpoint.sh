# SPDX-License-Identifier: MIT
# kquant quantize to a checkpoint and back, as people use it: the same blocks, read by every command, killed, and never onto anything else.
. tests/cli/common
half=$work/half.gguf whole=$work/whole made=$work/made
alone() { check "nothing else should be beside the output" [ "$(ls -A "$work" | grep -c -e kq-part -e 'part-' -e '[.]old-')" -eq 0 ]; }
same() { check "$1 and $2 should be the same" diff -r "$1" "$2"; }

# a pure copy, in one file and in many, and back
run quantize "$default_model" "$whole" COPY
exits 0 && quiet && narrow && plain && alone
prints "a checkpoint with 5.26 MiB of tensors"
run quantize "$default_model" "$made/" COPY --max-shard-size 1M --json
exits 0 && quiet && json && json format checkpoint && json output "$made" && alone
check "there should be an index" [ -s "$made/model.safetensors.index.json" ]
for file in "$made"/model-0000?-of-0000?.safetensors; do
    check "a shard should have less than 1 MiB and its header, unless one tensor has more" [ "$(wc -c <"$file")" -lt 1800000 ]
done
run quantize "$made" "$work/back.gguf" COPY
exits 0
run quantize "$whole" "$work/there.gguf" copy
exits 0
head -c 1500 docs/design.md >"$work/prose"
for other in "$work/there.gguf" "$work/back.gguf" "$whole" "$made"; do
    run tokenize -m "$other" --json -p "Once upon a time"
    exits 0
    cp "$out" "$work/tokens-$(basename "$other")"
    same "$work/tokens-there.gguf" "$work/tokens-$(basename "$other")"
    run logits -m "$other" --tokens 13,92,7 --exact -o "$work/logits-$(basename "$other")"
    exits 0
    same "$work/logits-there.gguf" "$work/logits-$(basename "$other")"
    run run -m "$other" -p "Once upon a time" -n 24 --temp 0
    exits 0
    cp "$out" "$work/text-$(basename "$other")"
    same "$work/text-there.gguf" "$work/text-$(basename "$other")"
    run perplexity -m "$other" -f "$work/prose" -c 64
    exits 0
    grep '^perplexity' "$out" >"$work/perplexity-$(basename "$other")"
    same "$work/perplexity-there.gguf" "$work/perplexity-$(basename "$other")"
    run calibrate -m "$other" -f "$work/prose" -c 64 -o "$work/importances.gguf"
    exits 0
    run verify "$other"
    exits 0 && prints "structure  fine" && prints "forward    finite"
    run inspect "$other" --json
    exits 0 && json architecture qwen3
done
run run -m "$default_model" -p "Once upon a time" -n 24 --temp 0
same "$out" "$work/text-made"
run inspect "$made"
exits 0 && prints "mlx-kquant checkpoint" && prints "in 6 files"

# its name goes with it; without one it is the folder's own, however the path is written
for at in "$made" "$made/" "$made//."; do
    run inspect "$at" --json
    exits 0 && json name tale
    sed '/_name_or_path/d' "$at/config.json" >"$work/config" && cp "$work/config" "$made/config.json"
    run inspect "$at" --json
    exits 0 && json name made
    (cd "$made" && "$kquant" inspect . --json >"$out")
    json name made
    cp "$whole/config.json" "$made/config.json"
done

# codecs of choice; the checkpoint is what the GGUF would be
run quantize "$default_model" "$half" Q5_K_M --allow-requantize --tensor-type ffn_up=q2_k --tensor-type attn_q=iq4_xs -q
exits 0
run quantize "$default_model" "$work/direct" Q5_K_M --allow-requantize --tensor-type ffn_up=q2_k --tensor-type attn_q=iq4_xs -q
exits 0
run quantize "$half" "$work/copied" COPY
exits 0
check "the same weights, made at once or copied" cmp "$work/direct/model.safetensors" "$work/copied/model.safetensors"
run quantize "$work/direct" "$work/again.gguf" COPY
exits 0
run quantize "$work/again.gguf" "$work/direct" COPY
exits 0
check "the same weights, there and back" cmp "$work/direct/model.safetensors" "$work/copied/model.safetensors"
alone

# what is refused, and stays as it is
run quantize "$default_model" "$work/new" COPY --max-shard-size much
refuses 2 "is no size"
run quantize "$made" "$made" COPY
refuses 1 "is the model itself"
run quantize "$default_model" "$work" COPY --format checkpoint
refuses 1 "is no file of a checkpoint"
run quantize "$default_model" "$half" COPY --format checkpoint
refuses 1 "is in the way"
run quantize "$default_model" "$work/none/new" COPY
refuses 1 "No such file"
run quantize "$default_model" "$work/ternary" TQ1_0 --allow-requantize
refuses 3 "is tq1_0, which checkpoints of mlx-kquant do not have"
check "nothing should be written" [ ! -e "$work/ternary" ]
ran="quantize with a limit on the size of files"
(ulimit -f 2000 && "$kquant" quantize "$default_model" "$work/new" COPY) >"$out" 2>"$err"
code=$?
exits 1 && says "cannot" && one_line && silent
check "nothing should be written" [ ! -e "$work/new" ]
alone

# killed in the middle, at several moments: the same command ends in the same bytes
killed=0
rm -rf "$made"
run quantize "$default_model" "$work/expected" Q4_K_S --allow-requantize --max-shard-size 1M
exits 0
for delay in 0.02 0.05 0.1 0.2; do
    "$kquant" quantize "$default_model" "$made" Q4_K_S --allow-requantize --max-shard-size 1M -t 1 >/dev/null 2>&1 &
    pid=$!
    sleep "$delay"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ -e "$made.kq-part" ] && killed=$((killed + 1))
    run quantize "$default_model" "$made" Q4_K_S --allow-requantize --max-shard-size 1M
    exits 0
    same "$made" "$work/expected"
    rm -rf "$made"
    alone
done
echo "$killed runs of 4 were killed in the middle"
finish
