#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: test.sh BUILD [PHASE...]
#
# All tests, one phase after the other; a failing phase does not keep the next from running. Results are counted from
# what the tests reported: cases of cmocka, inputs and bats tests. Logs: BUILD/test-results.
#
#	unit	cases of cmocka, as built
#	asan	the same and the fuzzers' corpora, under AddressSanitizer and UndefinedBehaviorSanitizer
#	fuzz	each fuzzer for a short while (A3S_FUZZ_SECONDS)
#	e2e	real boxes; started by root, a second and shorter pass runs as an ordinary user
set -u
cd "$(dirname "$0")/.." || exit

build=$1
shift
phases=${*:-unit asan fuzz e2e}
results=$(realpath -m "$build/test-results")
rm -rf "$results"
mkdir -p "$results"
passed=0 failed=0 skipped=0

say() {
	printf '\n== %s\n' "$*"
}

# count NAME: add up NAME's "passed failed skipped"
count() {
	local p f s
	read -r p f s <"$results/$1.count" || { p=0 f=1 s=0; }
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	echo "-- $1: $p passed, $f failed, $s skipped"
}

# meson_suites NAME BUILDDIR SUITE...
meson_suites() {
	local name=$1 dir=$2 suites=()
	shift 2
	for suite; do
		suites+=(--suite "$suite")
	done
	meson test -C "$dir" --no-rebuild --print-errorlogs "${suites[@]}" >"$results/$name.log" 2>&1 ||
		grep -vE '^ *[0-9]+/[0-9]+ .* OK ' "$results/$name.log"
	scripts/count-meson.py "$dir/meson-logs/testlog.json" >"$results/$name.count"
	count "$name"
}

phase_unit() {
	meson_suites unit "$build" unit replay
}

phase_asan() {
	[ -f build-asan/build.ninja ] || meson setup -Db_sanitize=address,undefined -Db_lundef=false build-asan >"$results/asan-setup.log" 2>&1
	if ! meson compile -C build-asan >"$results/asan-build.log" 2>&1; then
		tail -n 40 "$results/asan-build.log"
		echo "0 1 0" >"$results/asan.count"
		count asan
		return
	fi
	meson_suites asan build-asan unit replay
}

phase_fuzz() {
	tests/fuzz/run.sh "$results/fuzz" && count fuzz
}

phase_e2e() {
	tests/e2e/run.sh "$build" "$results/e2e" ""
	count e2e
	[ "$(id -u)" = 0 ] || return 0
	tests/e2e/run.sh "$build" "$results/e2e-user" user
	count e2e-user
}

# The images of the end-to-end tests are made meanwhile, where they are not in the cache yet: that is mostly downloading.
[[ " $phases " != *" e2e "* ]] || nice tests/e2e/run.sh --images >"$results/images.log" 2>&1 </dev/null &

for phase in $phases; do
	say "$phase"
	started=$SECONDS
	"phase_$phase"
	echo "-- $phase took $((SECONDS - started)) s"
done
echo
echo "$passed passed, $failed failed, $skipped skipped" | tee "$results/summary"
[ "$failed" = 0 ]
