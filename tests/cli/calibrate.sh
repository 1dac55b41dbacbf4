# SPDX-License-Identifier: MIT
# kquant calibrate
. tests/cli/common
text=LICENSE
a=$work/a.imatrix.gguf
entry() { "$kquant" inspect "$1" --json | grep -c "in_sum2"; }

run calibrate -f $text -c 64 -o "$a"
exits 0 && prints "chunks" && prints "of 64 tokens" && prints "0 were never hit"
check "56 weights" [ "$(entry "$a")" -eq 56 ]
run calibrate -f $text -c 64 -o "$work/b.dat" --json
exits 0 && quiet && json weights 56 && json weights_never_hit 0 && json rows_not_finite 0 && json chunk_size 64
chunks=$("$json_check" chunks <"$out")
check "the old form" [ "$(head -c 4 "$work/b.dat")" != GGUF ]

# the bytes do not depend on batches and threads; the fast mode's are others
run calibrate -f $text -c 64 -t 2 -b 7 -o "$work/y"
exits 0
check "the same bytes" cmp -s "$a" "$work/y"
run calibrate -f $text -c 64 --fast -o "$work/z"
exits 0
check "other bytes" [ "$(cmp -s "$a" "$work/z" && echo same)" != same ]
check "56 weights" [ "$(entry "$work/z")" -eq 56 ]

# a run in two parts, and two runs merged
run calibrate -f $text -c 64 --chunks 2 -o "$work/first" --json
exits 0 && json chunks 2
run calibrate -f $text -c 64 --from-chunk 2 --in-file "$work/first" -o "$work/whole" --json
exits 0 && json chunks_before 2 && json chunks $((chunks - 2))
run calibrate -f $text -c 64 --from-chunk 2 -o "$work/second"
exits 0
run calibrate --merge "$work/first" "$work/second" -o "$work/merged"
exits 0 && silent && quiet
for file in whole merged; do
    "$kquant" inspect "$work/$file" --json >"$out"
    check "$file: all chunks" grep -A3 'imatrix.chunk_count' "$out" >/dev/null
    check "$file: 56 weights" [ "$(entry "$work/$file")" -eq 56 ]
done
run calibrate -f $text -c 64 --save-every 1 -o "$work/whole"
exits 0
check "no file beside it is left" [ "$(find "$work" -name 'whole*' | wc -l)" -eq 1 ]

# experts: each by itself, and those that nobody chose are listed
"$tools/expert_model" $default_model "$work/experts.gguf" || fault "the model with experts cannot be made"
run calibrate -m "$work/experts.gguf" -f $text -c 64 -o "$work/experts"
exits 0 && prints "weights  64, of which 0 were never hit" && prints "experts  96, of which 24 were never hit"
check "expert 3 of each of the 24" [ "$(grep -c '^blk.[0-7].ffn_[a-z]*_exps.weight  *3  *0  never hit$' "$out")" -eq 24 ]
check "no other gap" [ "$(grep -c '^blk' "$out")" -eq 24 ]
run calibrate -m "$work/experts.gguf" -f $text -c 64 -o "$work/experts" --json
exits 0 && json experts 96 && json experts_never_hit 24 && json weights_never_hit 0
json gaps 23 tensor blk.7.ffn_down_exps.weight && json gaps 23 expert 3 && json gaps 23 rows 0 && json gaps 23 what "never hit"
run quantize "$work/experts.gguf" "$work/experts-q4_0.gguf" Q4_0 --pure --allow-requantize --imatrix "$work/experts" --no-error
exits 0 && says "24 groups of importances (experts) are all taken as 1"

# refusals leave nothing
mkdir "$work/dir"
bad() { # CODE TEXT ARGS...
    wanted=$1 words=$2
    shift 2
    run calibrate "$@" -o "$work/dir/out"
    refuses "$wanted" "$words"
    check "nothing is left" [ -z "$(ls "$work/dir")" ]
}
run calibrate -f $text
refuses 2 "where to? (-o FILE)"
bad 2 "which text?"
bad 2 "--chunks 0 leaves nothing" -f $text --chunks 0
bad 1 "nothing.txt: cannot open" -f "$work/nothing.txt"
: >"$work/empty.txt"
bad 1 "0 tokens are no chunk of 512" -f "$work/empty.txt"
bad 1 "are no chunk of 512" -f $text
bad 3 "has chunks of 64 tokens, not 32 (-c)" -f $text -c 32 --in-file "$a"
bad 3 "cannot be continued" -f $text -c 64 --in-file "$work/b.dat"
bad 3 "" -f $text -c 64 --in-file $default_model
bad 2 "which matrices?" --merge
bad 1 "nothing: cannot open" --merge "$work/nothing"
bad 3 "is not of the first's form" --merge "$a" "$work/b.dat"
bad 1 "written as a .dat only" --merge "$work/b.dat"
bad 2 "unexpected argument" "$a" -f $text
cp $default_model "$work/model.gguf"
run calibrate -m "$work/model.gguf" -f $text -c 64 -o "$work/model.gguf"
refuses 1 "is the model itself"
check "the model is as it was" cmp -s $default_model "$work/model.gguf"
finish
