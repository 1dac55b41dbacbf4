# SPDX-License-Identifier: MIT
# A model of 512 MB that is one tensor, 1 GB as floats, under a limit of address space that leaves 200 MB beside the mapping of the file (which
# ulimit counts, though its pages are dropped as they are read), and with a peak of resident memory, looked at ten times a second, of 100 MB.
. tests/cli/common
model=$work/big.gguf
u32() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))\\$(printf %03o $(($1 >> 16 & 255)))\\$(printf %03o $(($1 >> 24 & 255)))"; }
u64() { u32 "$1"; u32 0; }
text() { u64 ${#1}; printf %s "$1"; }
{
    printf GGUF; u32 3; u64 1; u64 2
    text general.architecture; u32 8; text llama
    text llama.block_count; u32 4; u32 1
    text token_embd.weight; u32 2; u64 4096; u64 65536; u32 30; u64 0 # bf16
} >"$model"
size=$(wc -c <"$model")
begin=$(((size + 31) / 32 * 32))
truncate -s $((begin + 4096 * 65536 * 2)) "$model" 2>/dev/null || { echo "skipped: no truncate"; exit 77; }
ran="quantize with ulimit -v"
if ! (ulimit -v 800000 && "$kquant" version) >/dev/null 2>&1; then # sanitizers map terabytes
    echo "skipped: the program does not start with so little address space"
    exit 77
fi
(ulimit -v 724288 && exec "$kquant" quantize "$model" "$work/small.gguf" Q4_K_M -t 2) >"$out" 2>"$err" &
runs=$! peak=0 looks=0
while kill -0 "$runs" 2>/dev/null; do # the kernel keeps the peak, so the last look is the one that counts
    now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$runs/status" 2>/dev/null)
    [ -z "$now" ] || { peak=$now looks=$((looks + 1)); }
    sleep 0.1
done
wait "$runs"
code=$?
exits 0 && prints "268.44 M weights"
if [ -d /proc/self ]; then
    check "the peak should have been looked at" [ "$looks" -gt 0 ]
    check "the peak of resident memory should be below 100 MB, is $peak KiB" [ "$peak" -lt 97656 ]
fi
(ulimit -v 560000 && "$kquant" quantize "$model" "$work/none.gguf" Q4_K_M -t 2) >"$out" 2>"$err" # and the limit bites
finish
