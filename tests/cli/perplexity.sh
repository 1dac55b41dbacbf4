# SPDX-License-Identifier: MIT
# kquant perplexity
. tests/cli/common
text=LICENSE
same=$work/same.gguf
cp $default_model "$same"
value() { "$json_check" "$1" value <"$out"; }

# the result alone on stdout; every figure with its error
run perplexity -f $text -c 64
exits 0 && prints "perplexity"
check "the time on stderr" grep -q "tokens/s" "$err"
check "no divergence without a reference" [ "$(grep -c divergence "$out")" -eq 0 ]
run perplexity -f $text -c 64 --json
exits 0 && json model "$PWD/$default_model" && json chunk_size 64 && json mode fast && json kv f32
check "nothing on stderr" [ ! -s "$err" ]
chunks=$("$json_check" chunks <"$out")
check "chunks: $chunks" [ "$chunks" -gt 2 ]
json tokens $((chunks * 31)) # the second half of each chunk, but for its first token: 64 - 1 - 32
alone=$(value perplexity)

# a model is no way from itself, and bos, batches, threads and processors change nothing in the exact mode
run perplexity -m "$same" --reference $default_model -f $text -c 64 --json
exits 0 && json ln_perplexity_ratio value 0 && json kld_mean value 0 && json kld_99 value 0 && json kld_maximum value 0 && json same_top value 1
json kld_maximum error null
check "the perplexity is the same with a reference" [ "$(value perplexity)" = "$alone" ]
run perplexity -f $text -c 64 --exact --json
exits 0 && json mode exact
exact=$(value perplexity)
check "the exact mode has other bits" [ "$exact" != "$alone" ]
for words in "-t 1" "-t 2 -b 7" "--batch-size 64"; do
    # shellcheck disable=SC2086
    run perplexity -f $text -c 64 --exact --json $words
    exits 0
    check "$words: the same" [ "$(value perplexity)" = "$exact" ]
done
ran="kquant perplexity -f -"
"$kquant" perplexity -f - -c 64 --exact --json <$text >"$out" 2>"$err"
check "from standard input: the same" [ "$(value perplexity)" = "$exact" ]
run perplexity -f $text -c 64 --chunks 2 --json
exits 0 && json chunks 2 && json tokens 62
run perplexity -f $text -c 64 --chunks 100000 --json
exits 0 && json chunks "$chunks"
run perplexity -f $text -c 65 --chunks 1 --json
exits 0 && json tokens 32

# f16 state is another measurement
run perplexity -f $text -c 64 --kv f16 -r "$same" --json
exits 0 && json kv f16 && json kld_mean value 0

# refusals
run perplexity --json
refuses 2 "which text? (-f FILE, or -f - for standard input)"
run perplexity -f "$work/nothing.txt"
refuses 1 "nothing.txt: cannot open"
: >"$work/empty.txt"
run perplexity -f "$work/empty.txt"
refuses 1 "empty.txt: 0 tokens are no chunk of 512; give a longer text, or a smaller -c"
echo "Once upon a time" >"$work/short.txt"
run perplexity -f "$work/short.txt"
refuses 1 "tokens are no chunk of 512"
run perplexity -f "$work/short.txt" -c 4 --json
exits 0 && json tokens 1 && json perplexity error null
run perplexity -f $text -c 3
refuses 2 "-c: '3' is not a whole number from 4 to"
run perplexity -f $text --chunks 0
refuses 2 "--chunks 0 leaves nothing to read"
run perplexity -f $text -m "$work/nothing.gguf"
refuses 1 "nothing.gguf: cannot open"
run perplexity -f $text --reference "$work/nothing.gguf"
refuses 1 "nothing.gguf: cannot open"
echo "this is no model" >"$work/no.gguf"
run perplexity -f $text --reference "$work/no.gguf"
refuses 3 "no.gguf: "

# weights that are not finite: logits are not either
offset=$("$kquant" inspect "$same" --json | awk '/"name": "output_norm.weight"/ { found = 1 } found && /"offset":/ { print $2 + 0; exit }')
cp $default_model "$work/nan.gguf"
printf '\000\000\300\177' | dd of="$work/nan.gguf" bs=1 seek="$offset" conv=notrunc 2>/dev/null
run perplexity -m "$work/nan.gguf" -f $text -c 64
refuses 3 "chunk 1 of $chunks: the logits after token 0 are not finite"
run perplexity --reference "$work/nan.gguf" -f $text -c 64
refuses 3 "are not finite"

# another vocabulary
shared=${KQ_SHARED:-../shared}
if [ -f "$shared/models/stories260K/stories260K-f32.gguf" ]; then
    run perplexity --reference "$shared/models/stories260K/stories260K-f32.gguf" -f $text -c 64
    refuses 3 "stories260K-f32.gguf: a vocabulary of 512 tokens, but"
    run perplexity -m "$shared/models/stories260K/stories260K-f32.gguf" -f $text -c 64 --json # a model that wants BOS
    exits 0
fi

# interruption
for _ in 1 2 3 4 5 6 7 8; do cat $text $text $text $text; done >"$work/long.txt"
cat "$work/long.txt" "$work/long.txt" "$work/long.txt" "$work/long.txt" >"$work/longer.txt"
ran="kquant perplexity, interrupted"
"$kquant" perplexity -f "$work/longer.txt" >"$out" 2>"$err" </dev/null &
process=$!
sleep 0.5
kill -INT $process
wait $process
code=$?
exits 130 && silent && quiet
finish
