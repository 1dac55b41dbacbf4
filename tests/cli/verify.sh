# SPDX-License-Identifier: MIT
# kquant verify
. tests/cli/common
model=$work/model.gguf manifest=$work/manifest
cp $default_model "$model"
offset_of() { "$kquant" inspect "$model" --json | awk -v name="\"name\": \"$1\"," 'index($0, name) { found = 1 } found && /"offset":/ { print $2 + 0; exit }'; }
patch() { # OFFSET BYTES: a copy of the model with these bytes there
    cp $default_model "$work/bad.gguf"
    # shellcheck disable=SC2059
    printf "$2" | dd of="$work/bad.gguf" bs=1 seek="$1" conv=notrunc 2>/dev/null
}

run verify "$model" --write-manifest "$manifest"
exits 0 && quiet && prints "structure  fine" && prints "0 are not finite" && prints "forward    finite" && narrow && plain
check "a line a tensor, one of metadata, one of comment" [ "$(wc -l <"$manifest")" -eq 92 ]
run verify -m "$model" --manifest "$manifest" --json
exits 0 && quiet && json intact true && json tensors 90 && json forward finite
run verify "$model" --manifest "$manifest" -t 1
exits 0 && prints "manifest   the same"
run verify "$model" --no-forward
exits 0 && prints "forward    not run: --no-forward"

# the hash is that of the tensor's bytes
offset=$(offset_of output_norm.weight)
wanted=$(tail -c +$((offset + 1)) "$model" | head -c 1024 | sha256sum | cut -d ' ' -f 1)
check "the hash of output_norm.weight" grep -q "^$wanted  f32  256  output_norm.weight$" "$manifest"

# another byte: the tensor is named
patch $((offset + 1)) '\001'
run verify "$work/bad.gguf" --manifest "$manifest"
exits 1 && prints "manifest   differs" && prints "  output_norm.weight: other bytes"
check "nothing else differs" [ "$(grep -c 'other bytes' "$out")" -eq 1 ]

# NaN and infinity, in a float tensor and in a scale
patch "$offset" '\000\000\300\177'
run verify "$work/bad.gguf"
exits 1 && prints "  output_norm.weight: 1 blocks, the first in row 0, block 0" && prints "forward    not finite"
run verify "$work/bad.gguf" --json
exits 1 && json intact false && json not_finite 0 tensor output_norm.weight && json forward "not finite"
scale=$(($(offset_of blk.0.ffn_gate.weight) + 144 * 5)) # q4_k, a block a row
patch $scale '\000\174'
run verify "$work/bad.gguf" --no-forward
exits 1 && prints "  blk.0.ffn_gate.weight: 1 blocks, the first in row 5, block 0"

# manifests that do not fit
sed '/output_norm/d' "$manifest" >"$work/m"
run verify "$model" --manifest "$work/m" --no-forward
exits 1 && prints "  output_norm.weight: not in the manifest"
sed 's/output_norm.weight/other.weight/' "$manifest" >"$work/m"
run verify "$model" --manifest "$work/m" --no-forward --json
exits 1 && json differences 0 what "missing in the model" && json differences 0 tensor other.weight
sed 's/  f32  256  output_norm/  f32  128x2  output_norm/' "$manifest" >"$work/m"
run verify "$model" --manifest "$work/m" --no-forward
exits 1 && prints "  output_norm.weight: another codec or shape"
sed '2s/^......../00000000/' "$manifest" >"$work/m"
run verify "$model" --manifest "$work/m" --no-forward
exits 1 && prints "  metadata: other metadata"
sed '2d' "$manifest" >"$work/m"
run verify "$model" --manifest "$work/m" --no-forward
exits 0

# what is no manifest
bad() { # TEXT: of $work/m
    run verify "$model" --manifest "$work/m" --no-forward
    refuses 3 "$1"
}
: >"$work/m"
bad "it is no manifest: no line of it names a tensor"
echo "# a comment" >"$work/m"
bad "it is no manifest: no line of it names a tensor"
echo "nonsense" >"$work/m"
bad "it is no manifest: a line must be"
cut -c 1-70 "$manifest" >"$work/m"
bad "it is no manifest: a line must be"
head -c 20000 $default_model >"$work/m"
bad "it is no manifest"
cat "$manifest" "$manifest" >"$work/m"
bad "is there twice"

# the file
run verify "$work/nothing.gguf"
refuses 1 "nothing.gguf: cannot open"
head -c 100000 $default_model >"$work/cut.gguf"
run verify "$work/cut.gguf"
refuses 3 "cut.gguf: "
# cut off anywhere, in the header, the keys, the tensors' infos and their data: 3, and never "intact"
size=$(wc -c <$default_model)
data=$(offset_of token_embd.weight)
for length in 0 1 3 4 8 23 24 25 100 5000 $((data / 2)) $((data - 33)) $((data - 1)) "$data" $((data + 1)) $((size / 2)) $((size - 1)); do
    head -c "$length" $default_model >"$work/cut.gguf"
    run verify "$work/cut.gguf" --manifest "$manifest" --write-manifest "$work/of-cut"
    refuses 3 "cut.gguf: "
    run verify "$work/cut.gguf" --json
    exits 3 && silent && one_line
done
check "no manifest of a file that is bad" [ ! -e "$work/of-cut" ]
{ cat $default_model && printf 'more'; } >"$work/long.gguf"
run verify "$work/long.gguf" --no-forward
case $code in 0 | 3) ;; *) fault "bytes behind the data are fine or the file's fault" ;; esac
for kind in "tests/cli/common" "LICENSE" "fuzz/corpus/imatrix/dense.dat" "fuzz/corpus/config/llama"; do
    run verify "$kind"
    refuses 3 "$kind"
done
mkdir "$work/folder"
run verify "$work/folder"
refuses 1 "folder: is a directory without config.json, so it holds no model"
echo '{"architectures": ["LlamaForCausalLM"]' >"$work/folder/config.json"
run verify "$work/folder"
refuses 3 "config.json"
run verify "$model" --manifest "$work/nothing"
refuses 1 "nothing: cannot open"
run verify "$model" --write-manifest "$model"
refuses 1 "is the model itself"
check "the model is as it was" cmp -s $default_model "$model"
run verify --json
refuses 2 "which model?"
run verify "$model" -m "$model"
refuses 2 "not both"
run verify -h
exits 0

shared=${KQ_SHARED:-../shared}
if [ -d "$shared" ]; then
    run verify "$shared/golden/quantize/tale.imatrix.gguf"
    exits 0 && prints "forward    not run: the file holds no model"
    cp -r "$shared/models/tale" "$work/hf" && chmod -R u+w "$work/hf"
    refused() { # TEXT: of $work/hf, which is then made whole
        run verify "$work/hf"
        refuses 3 "$1"
        cp "$shared/models/tale/"* "$work/hf/" && chmod -R u+w "$work/hf"
    }
    for length in 0 7 8 500 20000 2888791; do
        head -c "$length" "$shared/models/tale/model-00002-of-00002.safetensors" >"$work/hf/model-00002-of-00002.safetensors"
        refused "model-00002-of-00002.safetensors"
    done
    rm "$work/hf/model-00001-of-00002.safetensors" && refused "model-00001-of-00002.safetensors"
    head -c 1000 "$shared/models/tale/model.safetensors.index.json" >"$work/hf/model.safetensors.index.json" && refused "model.safetensors.index.json"
    head -c 300 "$shared/models/tale/config.json" >"$work/hf/config.json" && refused "config.json"
    run verify "$shared/models/tale" --write-manifest "$work/m" # a folder
    exits 0 && prints "forward    finite"
    run verify "$shared/models/tale" --manifest "$work/m" --no-forward
    exits 0 && prints "manifest   the same"
fi
finish
