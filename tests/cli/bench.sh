# SPDX-License-Identifier: MIT
# kquant bench: what it prints and refuses. No speed is looked at, but that there is one.
. tests/cli/common
few="-r 1 --megabytes 4 -N 64 -K 512"

# shellcheck disable=SC2086 # $few is options
run bench --matmul --codec q8_0,Q4_K $few -M 1,3,20 -t 1,2
exits 0 && narrow && plain && quiet
for words in matmul q8_0 q4_k memory cache roof share Medians; do prints "$words"; done
check "no peer, no ratio" [ "$(grep -c ratio "$out")" -eq 0 ]
# shellcheck disable=SC2086
run bench --matmul --codec q4_0 $few -M 2 --from memory --json
exits 0 && quiet && json
json lines 0 test matmul
json lines 0 codec q4_0
json lines 0 m 2
json lines 0 n 64
json lines 0 k 512
json lines 0 threads 1
json lines 0 from memory
json mode fast
for key in seconds speed roof share; do check "positive $key" [ "$("$json_check" lines 0 "$key" <"$out" | tr -d '0.e-' | wc -c)" -gt 1 ]; done
check "one line" [ -z "$("$json_check" lines 1 <"$out" 2>"$work/null")" ]
# shellcheck disable=SC2086
run bench --gather --embed --dequantize --codec q6_k $few --experts 8 --used 3 -M 4 --format csv
exits 0 && quiet
check "a header" grep -q '^test,codec,M,N,K,experts,t,from,speed,unit,roof,of,share,peer,ratio,note$' "$out"
check "gather" grep -q '^gather,q6_k,4,64,512,3/8,1,memory,' "$out"
check "embed" grep -q '^embed,q6_k,4,64,512,,1,cache,.*,store,' "$out"
check "dequantize" grep -q '^dequantize,q6_k,4,64,512,,1,memory,.*,store,' "$out"
# shellcheck disable=SC2086
run bench --matmul --codec f32 $few -M 1 --exact --format md
exits 0 && quiet
check "a rule of Markdown" grep -q '^| --- | --- | ---: |' "$out"
check "as many cells everywhere" [ "$(tr -dc '|\n' <"$out" | sort -u | wc -l)" -eq 1 ]

run bench --encode --codec q8_0,Q4_0 -r 1
exits 0 && narrow && plain
for words in encode encode-im q8_0 q4_0 Mw/s; do prints "$words"; done
run bench --encode --codec iq2_xs -r 1 -t 2 --json
exits 0 && quiet && json
json lines 0 test encode-im
json lines 0 threads 2
check "its encoder needs importances" [ -z "$("$json_check" lines 1 <"$out" 2>"$work/null")" ]

# Models: of a shape, which leaves nothing behind, and the default one; a program as the peer.
TMPDIR=$work
export TMPDIR
run bench --shape tiny -p 32 -n 8 -r 1 --megabytes 4 -t 1,2
exits 0 && narrow && plain && quiet
for words in pp32 tg8 tiny tok/s; do prints "$words"; done
run bench --shape tiny-moe --codec q8_0 -p 3,32 -n 4 -r 1 --megabytes 4
exits 0 && narrow && plain && quiet
for words in pp3 pp32 tg4 tiny-moe; do prints "$words"; done
check "the model is gone" [ -z "$(find "$work" -name 'kquant-bench*')" ]
cat >"$work/llama-bench" <<'END'
#!/bin/sh
case " $* " in *" -p 32 -n 0 -t 1 -r 1 -o csv "*) rate=100.5 ;; *" -p 0 -n 8 -t 1 -r 1 -o csv "*) rate=50.25 ;; *) rate=75 ;; esac
echo 'build_commit,cpu_info,"model_type",n_prompt,avg_ns,avg_ts,stddev_ts'
echo "\"abc\",\"a processor, with a comma\",\"llama\",\"32\",\"1\",\"$rate\",\"0.0\""
END
chmod +x "$work/llama-bench"
run bench -m "$default_model" -p 32 -n 8 -r 1 --megabytes 4 --peer "$work/llama-bench" --json
exits 0 && quiet && json
json lines 0 test pp32
json lines 0 peer 100.5
json lines 1 test tg8
json lines 1 peer 50.25
json lines 1 bound read
echo 'exit 3' | sed '1i #!/bin/sh' >"$work/failing"
chmod +x "$work/failing"
run bench --shape tiny --codec q8_0 -p 8 -n 0 -r 1 --megabytes 4 --peer "$work/failing"
refuses 1 "avg_ts"
check "the model is gone after a failure too" [ -z "$(find "$work" -name 'kquant-bench*')" ]
run bench --shape nope
refuses 2 "moe-1b"
run bench -m ./no-such.gguf -p 1
exits 1 && silent

# Of all codecs those are left out that cannot have the shape; named, they are refused. What nothing is left of is refused too.
run bench --embed --from cache -r 1 --megabytes 4 -N 64 -K 64 -M 4
exits 0 && narrow
check "a note names what is left out" grep -q 'note: --embed leaves out.* q2_k q3_k' "$err"
prints q8_0
check "no K-quant" [ "$(grep -c 'q[2-6]_k' "$out")" -eq 0 ]
printf '#!/bin/sh\n' >"$work/program"
chmod +x "$work/program"
# shellcheck disable=SC2086
run bench --matmul --codec q8_0 $few -M 1 --peer "$work/program"
exits 0 && narrow
check "a peer that is of no use" grep -q 'note: the peer .*program can do nothing' "$err"

for wrong in "--gather --from cache --codec q8_0 --megabytes 400" "--dequantize -t 2 --codec q8_0" "--shape tiny -p 0 -n 0" "--encode --codec f32" \
    "--embed --codec q8_0 -N 4096 -M 4096 -K 4096 --megabytes 32" \
    "-t 1" "--matmul -t 1,x" "--matmul -M 0" "--matmul -M 1,,2" "--matmul -M 5000" "--encode --codec q9_9" "--encode --codec i8" \
    "--matmul --codec q4_k -K 48" "--gather --experts 4 --used 5" \
    "--matmul -N 65536 --megabytes 4 --codec f32" "--format xml --matmul" "--shape tiny -p 1,-2" "--shape tiny --codec q4_k,q6_k"; do
    # shellcheck disable=SC2086
    run bench $wrong
    exits 2 && silent
done
run bench --encode --codec q8_0 --peer ./no-such-library.so
refuses 1 "no-such-library.so"
run bench --encode --codec q8_0 --peer ./README.md
refuses 1 "neither"
finish
