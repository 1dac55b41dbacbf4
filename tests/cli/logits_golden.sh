# SPDX-License-Identifier: MIT
# kquant logits against the reference engine, family by family. The models' tokenizer is of a kind that does not exist, which only
# stops commands that need it.
. tests/cli/common
for spec in tests/golden/models/*.json; do
    name=${spec##*/}
    name=${name%.json}
    case $name in
        gemma*) limit=2e-7 ;; # the reference rounds the argument of its GELU to f16
        *) limit=1e-8 ;;
    esac
    "$tools/golden_model" make "$name" "$work/model.gguf" || fault "$name cannot be made"
    tokens=$("$tools/golden_model" tokens "$name")
    run tokenize -m "$work/model.gguf" -p x --json
    refuses 3 "model.gguf: "
    run run -m "$work/model.gguf" -p x
    refuses 3 "model.gguf: "
    for words in "--prefill 16" "--prefill 0 -t 1" "--prefill -1 -t 2"; do
        # shellcheck disable=SC2086
        run logits -m "$work/model.gguf" --tokens "$tokens" $words --exact -o "$work/logits.bin"
        exits 0 && silent && quiet
        error=$("$tools/golden_model" check "$name" "$work/logits.bin" $limit)
        within=$?
        check "$name $words: the error is ${error:-unknown}, the limit $limit" [ $within -eq 0 ]
        [ "$words" != "--prefill 16" ] || cp "$work/logits.bin" "$work/first.bin"
        check "$name $words: the same bits" cmp -s "$work/first.bin" "$work/logits.bin"
    done
    echo "$name: $error"
done
finish
