# SPDX-License-Identifier: MIT
# kquant tokenize
. tests/cli/common
ids() { # WANTED: stdout is that array and nothing else
    json
    check "ids should be $1, are $(head -c 300 "$out")" [ "$(tr -d ' \n' <"$out")" = "$1" ]
    check "one line" [ "$(wc -l <"$out")" -eq 1 ]
}

run tokenize -p "Once upon a time there was a king who" --json
exits 0 && quiet && ids '[3327,679,258,547,453,310,258,742,433]'
run tokenize -m $default_model --ids --prompt "Once upon a time there was a king who"
exits 0 && quiet && ids '[3327,679,258,547,453,310,258,742,433]'
run tokenize -p "Once upon a time there was a king who" --bos --json
exits 0 && ids '[8189,3327,679,258,547,453,310,258,742,433]'
run tokenize -p "<|im_start|>user" --json
exits 0 && ids '[8190,504,270]'
run tokenize -p "<|im_start|>user" --json --no-special
exits 0
check "not the special token" [ "$("$json_check" 0 <"$out")" != 8190 ]
run tokenize -p "" --json
exits 0 && quiet && ids '[]'
run tokenize -p ""
exits 0 && silent && quiet
run tokenize -p "Once upon"
exits 0 && plain
check "a readable list" [ "$(cat "$out")" = '    3327  "Once"
     679  " upon"' ]

# every byte of a file counts: a last line break, zeros, what is not UTF-8
printf 'Once upon' >"$work/text"
run tokenize -f "$work/text" --json
exits 0 && ids '[3327,679]'
printf 'Once upon\n' >"$work/text"
run tokenize -f "$work/text" --json
exits 0 && ids '[3327,679,198]'
run tokenize -e -p 'Once upon\n' --json
exits 0 && ids '[3327,679,198]'
printf 'Once\0 upon' >"$work/text"
run tokenize -f "$work/text" --json
exits 0 && json
check "the zero is a token of its own" [ "$("$json_check" 0 <"$out") $("$json_check" 2 <"$out")" = "3327 679" ]
ran="kquant tokenize -f -"
"$kquant" tokenize -f - --json <"$work/text" >"$work/piped" 2>"$err"
check "standard input" cmp -s "$work/piped" "$out"
printf 'a\377\300b\355\240\200' >"$work/text"
run tokenize -f "$work/text" --json
exits 0 && quiet && json
run tokenize -f "$work/text"
exits 0 && plain
: >"$work/text"
run tokenize -f "$work/text" --json
exits 0 && ids '[]'

# the texts of the model's makers
if [ -f tests/golden/tale.json ]; then
    for i in 0 1 2 3; do
        "$json_check" $i text <tests/golden/tale.json >"$work/line"
        head -c -1 "$work/line" >"$work/text"
        run tokenize -f "$work/text" --json
        exits 0 && ids "$("$json_check" $i ids <tests/golden/tale.json)"
    done
fi

run tokenize --json
refuses 2 "give the text with -p TEXT or with -f FILE"
run tokenize -p a -f b
refuses 2 "not both"
run tokenize -p a b
refuses 2 "unexpected argument 'b'; a text comes after -p, in quotes"
run tokenize -f "$work/nothing"
refuses 1 "nothing: cannot open"
run tokenize -m "$work/nothing.gguf" -p x --json
refuses 1 "nothing.gguf: cannot open"
echo "this is no model" >"$work/no.gguf"
run tokenize -m "$work/no.gguf" -p x --json
refuses 3 "no.gguf: "
run tokenize
exits 2 && silent && says "usage: kquant tokenize"
ran="kquant tokenize >/dev/full"
"$kquant" tokenize -p x --json >/dev/full 2>"$err"
code=$?
: >"$out"
refuses 1 "cannot write to standard output: No space left on device"
finish
