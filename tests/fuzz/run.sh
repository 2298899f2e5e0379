#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: run.sh RESULTS [FUZZER...]
#
# Each fuzzer for A3S_FUZZ_SECONDS (5) under ASan and UBSan, starting from its corpus; new inputs go to .cache/fuzz, and an
# input that breaks something is kept in RESULTS and named. Writes RESULTS.count.
set -u
cd "$(dirname "$0")/../.." || exit

results=$1
shift
seconds=${A3S_FUZZ_SECONDS:-5}
mkdir -p "$results"
passed=0 failed=0 names=()

if [ ! -f build-fuzz/build.ninja ]; then
	CC=clang meson setup -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false build-fuzz >"$results/setup.log" 2>&1
fi
mapfile -t targets < <(ninja -C build-fuzz -t targets all | sed -n 's/^\(tests\/fuzz\/fuzz_[a-z0-9_]*\): .*/\1/p')
if ! ninja -C build-fuzz "${targets[@]}" >"$results/build.log" 2>&1; then
	tail -n 30 "$results/build.log"
	echo "0 1 0" >"$results.count"
	exit 0
fi
# one_fuzzer PROGRAM: says how it went, and leaves NAME.ok when it went well
one_fuzzer() {
	local name=${1##*/fuzz_}
	mkdir -p ".cache/fuzz/$name"
	if timeout $((seconds * 4 + 60)) "$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$results/$name-" \
		".cache/fuzz/$name" "tests/fuzz/corpus/$name" >"$results/$name.log" 2>&1; then
		: >"$results/$name.ok"
		echo "   $name: $(grep -o 'Done [0-9]* runs' "$results/$name.log")"
	else
		echo "   $name FAILED:"
		tail -n 40 "$results/$name.log"
	fi
}

for program in build-fuzz/tests/fuzz/fuzz_*; do
	name=${program##*/fuzz_}
	[ -x "$program" ] && [ -f "$program" ] || continue
	[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
	rm -f "$results/$name.ok"
	names+=("$name")
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n
	done
	one_fuzzer "$program" &
done
wait
for name in "${names[@]}"; do
	if [ -e "$results/$name.ok" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done
[ "$passed$failed" != 00 ] || failed=1
echo "$passed $failed 0" >"$results.count"
