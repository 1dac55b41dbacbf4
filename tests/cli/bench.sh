# SPDX-License-Identifier: MIT
# kquant bench
. tests/cli/common

run bench --encode --codec q8_0,Q4_0 -r 1
exits 0 && narrow && plain
for words in "codec" "q8_0" "q4_0" "without" "with" "research figure"; do prints "$words"; done
run bench --encode --codec q8_0 -r 1 -t 2 --json
exits 0 && quiet && json
json encode 0 codec q8_0
json encode 1 importances true
json threads 2
check "a speed" "$json_check" encode 0 mega_weights_per_second <"$out"

run bench -t 1
exits 2
run bench --encode --codec q9_9
exits 2
run bench --encode --codec i8
exits 2
run bench --encode --codec q8_0 --peer ./no-such-library.so
exits 1
finish
