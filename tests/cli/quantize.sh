# SPDX-License-Identifier: MIT
# kquant quantize as people use it: the bytes of llama.cpp, what is refused, and runs that are killed.
. tests/cli/common
shared=${KQ_SHARED:-../shared}
source=$shared/models/tale-gguf/tale-bf16.gguf
if [ ! -f "$source" ]; then
    [ "${CI:-}" = true ] && { echo "the shared data is missing: $shared"; exit 1; }
    echo "skipped: no $source"
    exit 77
fi
made=$work/made.gguf
alone() { check "nothing else should be beside the output" [ "$(ls -A "$work" | grep -c -e kq-part -e 'part-')" -eq 0 ]; }

# the tensors that llama-quantize makes, and the model that comes with kquant is one of these
run quantize "$source" "$made" q4_k_m
exits 0 && quiet && prints "Q4_K_M: 8.39 M weights in 90 tensors" && narrow && plain && alone
cp "$made" "$work/whole.gguf"
for type in Q8_0 Q3_K_L IQ4_XS F16; do
    run quantize "$source" "$made" "$type" --json -t 2
    exits 0 && quiet && json && json type "$type" && json dry_run false
done
run quantize "$source" "$made" Q4_K_M 1 --no-error
exits 0
check "the same bytes with one thread and unmeasured" cmp -s "$made" "$work/whole.gguf"
run inspect "$made" --json
exits 0 && json architecture qwen3

# a dry run writes nothing
rm "$made"
run quantize "$source" "$made" Q5_K_S --dry-run
exits 0 && quiet && narrow && prints "would take about"
check "a dry run should write nothing" [ ! -e "$made" ]
run quantize "$source" Q5_K_S --dry-run --json
exits 0 && json dry_run true
run quantize --list-types
exits 0 && prints Q4_K_M
run quantize --list-presets
exits 0 && prints "q4_k_m"
run quantize "$source" "$made" --preset q4_k_m
exits 0 && alone
run quantize "$source" "$made" q4_k_m --tensor-type attn_v=q8_0 --tensor-type ffn_up=q5_0
exits 0 && prints q5_0

# targets: within the size and near it, said why, and the same by bits as by bytes
run quantize "$source" "$made" --target-size 5500000
exits 0 && quiet && narrow && alone && prints "target: 8.39 M weights in 90 tensors"
size=$(wc -c <"$made")
check "a size within the target and 2 % of it, is $size" [ "$size" -le 5500000 ] && check "$size" [ "$size" -ge 5390000 ]
run inspect "$made" --json
exits 0
run quantize "$source" --target-bpw 4.25 --dry-run
exits 0 && quiet && narrow && plain && prints "token_embd.weight" && prints "18 x" && prints "0.25 x" && prints "4.25 bits per weight"
run quantize "$source" --target-bpw 4.25 --dry-run --json
exits 0 && quiet && json type target && json dry_run true && prints '"because": "target: error '
run quantize "$source" --target-size 1M --dry-run
refuses 1 "a target of 1048576 bytes is out of reach: at least 30"
run quantize "$source" --target-bpw 2 --dry-run
refuses 1 "a target of 2 bits a weight is out of reach: at least 2.6"
for size in 0 5X -5M 5MM "" nan 1e30; do
    run quantize "$source" --dry-run --target-size "$size"
    exits 2 && one_line && silent
done
for bits in 0 65 -4 nan inf x ""; do
    run quantize "$source" --dry-run --target-bpw "$bits"
    exits 2 && one_line && silent
done

# what is refused, and leaves nothing
rm "$made"
run quantize
exits 2
run quantize "$source" "$made"
refuses 2 "no type is named"
run quantize "$source" "$made" Q4_K_X
refuses 2 "no type is named 'Q4_K_X'; did you mean Q4_K"
run quantize "$source" Q4_K_M
refuses 2 "where to?"
run quantize "$source" "$made" Q4_K_M --target-bpw 4
exits 2
run quantize "$source" "$made" Q4_K_M --tensor-type attn_v
refuses 2 "is not PATTERN=CODEC"
run quantize "$work/missing.gguf" "$made" Q4_K_M
refuses 1 "No such file"
run quantize "$source" "$work/missing/made.gguf" Q4_K_M
refuses 1 "No such file"
run quantize "$source" "$work" Q4_K_M --format gguf
refuses 1 "not a regular file"
run quantize "$work/whole.gguf" "$made" Q2_K
exits 3 && says "quantised already"
run quantize "$work/whole.gguf" "$made" Q2_K --allow-requantize
exits 0
run quantize "$source" "$made" IQ2_XXS
refuses 1 "needs an importance matrix"
cp "$source" "$work/input.gguf"
ln "$work/input.gguf" "$work/link.gguf"
run quantize "$work/input.gguf" "$work/link.gguf" Q4_K_M
refuses 1 "is the model itself"
check "the input should be whole" cmp -s "$source" "$work/input.gguf"
rm -f "$made"
for size in 3 1000 100000 8000000; do
    head -c "$size" "$source" >"$work/cut.gguf"
    run quantize "$work/cut.gguf" "$made" Q4_K_M
    exits 3 && one_line && silent
    check "nothing should be written" [ ! -e "$made" ]
done
ran="quantize with a limit on the size of files"
(ulimit -f 2000 && "$kquant" quantize "$source" "$made" Q4_K_M) >"$out" 2>"$err"
code=$?
exits 1 && says "cannot" && one_line && silent && alone
check "nothing should be written" [ ! -e "$made" ]

# killed in the middle, at several moments: the same command ends in the same bytes
kept=0
for delay in 0.02 0.05 0.08 0.12; do
    "$kquant" quantize "$source" "$made" Q4_K_M -t 1 >/dev/null 2>&1 &
    pid=$!
    sleep "$delay"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ -e "$made.kq-part" ] && kept=$((kept + 1))
    run quantize "$source" "$made" Q4_K_M
    exits 0
    check "the bytes of a run that nobody killed" cmp -s "$made" "$work/whole.gguf"
    rm -f "$made"
    alone
done
echo "$kept runs of 4 were killed in the middle"
# interrupted: says so, keeps what is finished, and takes it up
"$kquant" quantize "$source" "$made" IQ3_S -t 1 >"$out" 2>"$err" &
pid=$!
tries=0
while [ "$tries" -lt 200 ] && [ ! -s "$made.kq-part" ]; do
    sleep 0.01
    tries=$((tries + 1))
done
sleep 0.3
kill -TERM $pid 2>/dev/null
wait $pid
code=$?
ran="quantize, terminated"
if [ "$code" -ne 0 ]; then
    exits 143
    says "the same command goes on from there"
    run quantize "$source" "$made" IQ3_S
    exits 0 && says "were there from a run before"
    cp "$made" "$work/taken-up.gguf"
    run quantize "$source" "$made" IQ3_S --no-resume
    exits 0 && quiet
    check "the same bytes" cmp -s "$made" "$work/taken-up.gguf"
fi

# interrupted while a target's candidates are measured: nothing is left
rm -f "$made"*
"$kquant" quantize "$source" "$made" --target-bpw 4 -t 1 >"$out" 2>"$err" &
pid=$!
sleep 0.2
kill -TERM $pid 2>/dev/null
wait $pid
code=$?
ran="quantize to a target, terminated"
if [ "$code" -ne 0 ]; then # else it was done before
    exits 143
    check "nothing should be on stdout" [ ! -s "$out" ]
fi
finish
