# SPDX-License-Identifier: MIT
# kquant doctor
. tests/cli/common

run doctor
exits 0 && quiet && narrow && plain
for words in "kquant      " "compiler    " "processors  " "features    " "tale-q4_k_m.gguf" "works: " "q4_k" "generic"; do prints "$words"; done
run doctor --json
exits 0 && quiet && json
json default_model works true
json version "$(sed -n 's/^#define KQ_VERSION "\(.*\)"/\1/p' include/kquant/core.h)"
check "there are kernels" "$json_check" kernels 0 variant <"$out"

mkdir -p "$work/tree/build" "$work/tree/models"
cp "$kquant" "$work/tree/build/kquant"
cp -P "$(dirname "$kquant")"/libkquant.so* "$work/tree/build/"
ran="kquant doctor without a model"
"$work/tree/build/kquant" doctor >"$out" 2>"$err"
code=$?
exits 0 && quiet && prints "none beside this program" && narrow
"$work/tree/build/kquant" doctor --json >"$out" 2>"$err"
code=$?
exits 0 && json default_model works false && json default_model path null
head -c 100000 $default_model >"$work/tree/models/tale-q4_k_m.gguf"
ran="kquant doctor with half a model"
"$work/tree/build/kquant" doctor --json >"$out" 2>"$err"
code=$?
exits 1 && one_line && says "tale-q4_k_m.gguf: " && json default_model works false
finish
