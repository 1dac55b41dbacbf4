# SPDX-License-Identifier: MIT
# kquant encode and decode: every golden both ways, and refusals
. tests/cli/common
golden=tests/golden/codecs
n=0
for bytes in "$golden"/*.bytes; do
    base=${bytes%.bytes}
    name=${base##*/}
    codec=$(echo "${name%%.*}" | tr K k)
    run decode --codec "$codec" --cols 768 "$bytes" -o "$work/result"
    exits 0 && silent && quiet
    [ ! -e "$base.f32" ] || check "the decoding of $name" cmp -s "$work/result" "$base.f32"
    case $name in
    *.random) continue ;;
    *.importance) run encode --codec "$codec" --cols 768 --importance "$golden/importance.f32" "$golden/x.f32" -o "$work/result" ;;
    *) run encode --codec "$codec" --cols 768 "$golden/x.f32" -o "$work/result" ;;
    esac
    exits 0 && silent && quiet
    check "the bytes of $name" cmp -s "$work/result" "$bytes"
    n=$((n + 1))
done
check "goldens of every codec" [ "$n" -ge 45 ]

# standard input and output
ran="kquant encode - -o -"
"$kquant" encode --codec Q4_K --cols 768 - -o - <"$golden/x.f32" >"$work/result" 2>"$err"
check "through a pipe" cmp -s "$work/result" "$golden/q4_K.bytes"

# a pipe that ends within a row after more than is read at once: 1365 rows of 3072 bytes, of which standard output has the blocks
ran="kquant encode - (a long pipe, cut)"
n=0
while [ $n -lt 90 ]; do
    cat "$golden/x.f32"
    n=$((n + 1))
done >"$work/long"
{ cat "$work/long" && printf x; } | "$kquant" encode --codec q8_0 --cols 768 - -o - >"$out" 2>"$err"
code=$?
exits 3 && one_line && says "standard input: 4423681 bytes are no whole rows of 3072, and its first 1365 rows are written already"
"$kquant" encode --codec q8_0 --cols 768 "$work/long" -o "$work/result"
check "1365 rows of q8_0 and no more" [ "$(wc -c <"$out")" -eq $((1365 * 816)) ]
check "the right ones" cmp -s -n $((1365 * 816)) "$out" "$work/result"
rm "$work/result"
{ cat "$work/long" && printf x; } | "$kquant" encode --codec q8_0 --cols 768 - -o "$work/result" >"$out" 2>"$err"
code=$?
refuses 3 "standard input: 4423681 bytes are no whole rows of 3072"
check "nothing is written, under any name" [ -z "$(find "$work" -name 'result*')" ]
{ cat "$work/long" && printf '\000\000\300\177%.0s' 1 2 3 && head -c 3060 "$golden/x.f32"; } | "$kquant" encode --codec q8_0 --cols 768 - -o - >"$out" 2>"$err"
code=$?
exits 3 && one_line && says "column 0 is NaN, and its first 1365 rows are written already"
check "no row of the piece with the NaN" [ "$(wc -c <"$out")" -eq $((1365 * 816)) ]

# refusals leave nothing behind
rm -f "$work/result"
head -c 3073 "$golden/x.f32" >"$work/cut"
run encode --codec q4_k --cols 768 "$work/cut" -o "$work/result"
refuses 3 "3073 bytes are no whole rows of 3072"
run decode --codec q4_k --cols 768 "$work/cut" -o "$work/result"
refuses 3 "3073 bytes are no whole rows of 432"
ran="kquant encode - (cut)"
"$kquant" encode --codec q4_k --cols 768 - -o "$work/result" <"$work/cut" >"$out" 2>"$err"
code=$?
refuses 3 "no whole rows"
: >"$work/empty"
run encode --codec q4_k --cols 768 "$work/empty" -o "$work/result"
refuses 3 "is empty"
printf '\000\000\300\177%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 >"$work/nan"
run encode --codec q8_0 --cols 32 "$work/nan" -o "$work/result"
refuses 3 "row 0"
run encode --codec q4_k --cols 768 --importance "$work/nan" "$golden/x.f32" -o "$work/result"
refuses 3 "128 bytes are not 768 float32"
run encode --codec iq2_xxs --cols 768 "$golden/x.f32" -o "$work/result"
exits 2 && says "iq2_xxs needs --importance"
run encode --codec q4_k --cols 100 "$golden/x.f32" -o "$work/result"
exits 2 && says "--cols"
run encode --codec q4 --cols 768 "$golden/x.f32" -o "$work/result"
exits 2 && says "no codec is named 'q4'"
run encode --codec q4_k "$golden/x.f32" -o "$work/result"
exits 2 && says "how many weights has a row"
run decode --codec i32 --cols 768 "$golden/x.f32" -o "$work/result"
exits 2 && says "no codec is named 'i32'"
run decode --codec q4_k --cols 768 "$golden/q4_K.bytes"
exits 2 && says "where to?"
check "nothing is written" [ ! -e "$work/result" ]
finish
