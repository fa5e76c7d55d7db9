#!/usr/bin/env bash
# Runs each fuzz target, or the one named, for FUZZ_SECONDS (60), on the stable toolchain, and says how long each ran.
# Findings go to target/fuzz/findings; what is learnt stays in target/fuzz/corpus; seeds/TARGET is where it starts.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

# The compiler's own coverage pass; no sanitizer, which would need a nightly toolchain.
coverage=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Ccodegen-units=1
    --cfg=fuzzing
)
# With --target the flags reach the fuzzed code alone, not build scripts and macros.
RUSTFLAGS="${coverage[*]}" cargo build --release --manifest-path tests/fuzz/Cargo.toml \
    --target "$host" --target-dir "$out" ${1:+--bin "$1"}

if [ $# -gt 0 ]; then
    targets=("$1")
else
    mapfile -t targets < <(cd tests/fuzz/targets && ls -- *.rs | sed 's/\.rs$//')
fi

# The longest input, in bytes: as long as the parser's own bounds, where they lie further than 8 KiB. libFuzzer begins with short ones.
longest() {
    case $1 in
        amf0 | aggregate | flv | session | client) echo 70000 ;; # Commands and tags of 64 KiB, aggregates of 4,096 messages.
        amf3) echo 270000 ;;                                     # Data of 256 KiB.
        *) echo 8192 ;;
    esac
}

failed=()
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/findings/$target"
    seeds=tests/fuzz/seeds/$target
    log=$out/$target.log
    started=$SECONDS
    status=0
    "$out/$host/release/$target" "$out/corpus/$target" $([ -d "$seeds" ] && echo "$seeds") \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len="$(longest "$target")" -print_final_stats=1 \
        -artifact_prefix="$out/findings/$target/" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    # libFuzzer counts the places of the program that an input reached; none would mean that it goes blind.
    reached=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2 || true)
    printf 'fuzz: %-10s %4d s, %10s runs, %6s places reached' "$target" $((SECONDS - started)) "${runs:-?}" "${reached:-0}"
    if [ "$status" -ne 0 ]; then
        failed+=("$target")
        printf '  FAILED: see %s\n' "$log"
    elif [ "${reached:-0}" -lt 20 ]; then
        failed+=("$target")
        printf '  FAILED: no coverage feedback\n'
    else
        printf '\n'
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "fuzz: failed: ${failed[*]}" >&2
    exit 1
fi
