# SPDX-License-Identifier: MIT
# kquant logits
. tests/cli/common
tokens=3327,679,258,547,453,310
ints() { od -An -v -t d4 -N "$2" "$1" | tr -s ' \n' ' '; } # FILE BYTES
exact=--exact

# shellcheck disable=SC2086
run logits --tokens $tokens $exact -o "$work/a"
exits 0 && silent && quiet
check "the head" [ "$(ints "$work/a" 32)" = " 6 8192 3327 679 258 547 453 310 " ]
check "the size" [ "$(wc -c <"$work/a")" -eq $((8 + 6 * 4 + 6 * 8192 * 4)) ]

# in the exact mode nothing depends on how the work is cut
for words in "--prefill 6" "--prefill 0" "--prefill 1" "--prefill 4" "--prefill 100 -t 1" "--prefill 3 -t 2" "-m $default_model"; do
    run logits --tokens $tokens $exact $words -o "$work/b"
    exits 0
    check "the same logits" cmp -s "$work/a" "$work/b"
done
run logits --tokens 3327 $exact -o "$work/b"
exits 0
check "the first row is the first token's" [ "$(tail -c +13 "$work/b" | head -c 32768 | cksum)" = "$(tail -c +33 "$work/a" | head -c 32768 | cksum)" ]
ran="kquant logits -o -"
"$kquant" logits --tokens $tokens $exact -o - >"$work/b" 2>"$err" </dev/null
check "standard output" cmp -s "$work/a" "$work/b"

# the KV cache is f32 unless it is asked otherwise: f16 adds an error of its own
run logits --tokens $tokens $exact --kv f32 -o "$work/b"
exits 0
check "f32 is the default" cmp -s "$work/a" "$work/b"
run logits --tokens $tokens $exact --kv f16 -o "$work/b"
exits 0
check "f16 gives other bits" [ "$(cksum <"$work/a")" != "$(cksum <"$work/b")" ]

# the fast mode gives other numbers, but not far
run logits --tokens $tokens -o "$work/b"
exits 0
check "other bits" [ "$(cksum <"$work/a")" != "$(cksum <"$work/b")" ]
# logits of the last row, as text: the means of the squares of the differences and of the numbers
floats() { tail -c 32768 "$1" | od -An -v -w4 -t f4; }
floats "$work/a" >"$work/a.txt"
floats "$work/b" >"$work/b.txt"
error=$(paste "$work/a.txt" "$work/b.txt" | awk '{ d += ($1 - $2) ^ 2; s += $1 ^ 2 } END { print (d < 1e-3 * s) ? "small" : d / s }')
check "the difference is $error" [ "$error" = small ]

# refusals leave no file, and the old one as it was
mkdir "$work/dir"
bad() { # CODE TEXT ARGS...
    wanted=$1 text=$2
    shift 2
    run logits "$@" -o "$work/dir/out"
    refuses "$wanted" "$text"
    check "no file is left" [ -z "$(ls "$work/dir")" ]
}
bad 2 "which tokens?" --exact
bad 2 "--tokens: '' (number 1 of the list) is no token id" --tokens ""
bad 2 "--tokens: '' (number 2 of the list) is no token id" --tokens 1,
bad 2 "--tokens: '' (number 1 of the list) is no token id" --tokens ,1
bad 2 "--tokens: 'x' (number 2 of the list) is no token id" --tokens 1,x,2
bad 2 "--tokens: '-1' (number 1 of the list) is no token id" --tokens -1
bad 2 "--tokens: ' 2' (number 2 of the list) is no token id" --tokens "1, 2"
bad 2 "--tokens: '2147483648' (number 1 of the list) is no token id" --tokens 2147483648
bad 2 "--tokens: 8192 (number 2 of the list) is not below the vocabulary's 8192" --tokens 1,8192
bad 2 "--prefill: '-2' is not" --tokens 1 --prefill -2
bad 1 "nothing.gguf: cannot open" --tokens 1 -m "$work/nothing.gguf"
echo "this is no model" >"$work/no.gguf"
bad 3 "no.gguf: " --tokens 1 -m "$work/no.gguf"
run logits --tokens 1
refuses 2 "where to? (-o FILE, or -o - for standard output)"
run logits --tokens 1 -o "$work/nowhere/out"
refuses 1 "nowhere/out: cannot create: No such file or directory"
run logits --tokens 1 -o "$work/dir"
refuses 1 "dir: cannot write: Is a directory"
run logits --tokens 1 -o /dev/full
refuses 1 "/dev/full: cannot write: No space left on device"
cp $default_model "$work/model.gguf"
run logits --tokens 1 -m "$work/model.gguf" -o "$work/model.gguf"
refuses 1 "is the model itself"
check "the model is as it was" cmp -s $default_model "$work/model.gguf"
run logits --tokens 1 -o /dev/null
exits 0 && quiet
check "/dev/null is still a device" [ -c /dev/null ]

# links are followed, modes are kept, and only the finished file is there
echo old >"$work/dir/real"
chmod 640 "$work/dir/real"
ln -s real "$work/dir/link"
run logits --tokens $tokens $exact -o "$work/dir/link"
exits 0
check "the target is written" cmp -s "$work/a" "$work/dir/real"
check "its mode is kept" [ "$(stat -c %a "$work/dir/real")" = 640 ]
check "nothing else is there" [ "$(ls "$work/dir" | tr '\n' ' ')" = "link real " ]

# interruption leaves the old file
many=1
for _ in 1 2 3 4 5 6 7 8 9 10 11; do many=$many,$many; done # 2048 tokens
ran="kquant logits, interrupted"
"$kquant" logits --tokens $many --prefill 0 -o "$work/dir/real" >"$out" 2>"$err" </dev/null &
process=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.1
    [ "$(ls "$work/dir" | wc -l)" -eq 3 ] && break
done
kill -INT $process
wait $process
code=$?
exits 130 && silent && quiet
check "the old file is there" cmp -s "$work/a" "$work/dir/real"
check "and nothing else" [ "$(ls "$work/dir" | tr '\n' ' ')" = "link real " ]

# a long --prefill is no reason to wait: this one takes minutes when it is not interrupted
for _ in 1 2 3 4; do many=$many,$many; done # 32768 tokens
ran="kquant logits --prefill, interrupted"
"$kquant" logits --tokens $many --prefill 32768 -o "$work/dir/real" >"$out" 2>"$err" </dev/null &
process=$!
watch $process 60
for _ in $(seq 100); do
    [ "$(ls "$work/dir" | wc -l)" -eq 3 ] && break
    sleep 0.1
done
kill -INT $process
wait $process
code=$?
unwatch
exits 130 && silent && quiet
check "the old file is there" cmp -s "$work/a" "$work/dir/real"
finish
