#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a reviewer's tools say: both compilers without warnings, then clang-tidy, cppcheck, sparse, checkpatch and
# shell scripts (shellcheck), and whether every case of docs/cases.md has a test.
set -u
cd "$(dirname "$0")/.." || exit
bad=0

step() {
	printf '== %s\n' "$1"
	shift
	"$@" || { bad=1; echo "-- FAILED"; }
}

# compile CC BUILDDIR
compile() {
	[ -f "$2/build.ninja" ] || CC=$1 meson setup "$2" >/dev/null || return
	meson compile -C "$2" | grep -vE '^\[|^INFO|^ninja|^$'
	return "${PIPESTATUS[0]}"
}

sources() {
	git ls-files 'src/*.c' 'tests/unit/*.c' 'tests/fuzz/*.c'
}

tidy() {
	sources | xargs -P "$(nproc)" -n 4 clang-tidy -p build-clang --quiet --warnings-as-errors='*' 2>&1 |
		grep -vE 'warnings (generated|treated as errors)|^Suppressed|^Use -header-filter'
	return "${PIPESTATUS[1]}"
}

cpp_check() {
	cppcheck --project=build-clang/compile_commands.json --enable=warning,performance,portability --inline-suppr \
		--suppressions-list=tests/cppcheck.txt --error-exitcode=1 --quiet -j "$(nproc)" --std=c11
}

kernel_sparse() {
	local headers
	headers=/usr/src/$(basename "$(find /usr/src -maxdepth 1 -name 'linux-headers-*-cloud-amd64' | sort -V | tail -n 1)")
	local work
	work=$(mktemp -d)
	cp -r kmod/tsi/. "$work" && make -s -C "$headers" M="$work" C=2 CF=-D__CHECK_ENDIAN__ modules
	local status=$?
	rm -rf "$work"
	return "$status"
}

# The kernel's own checker of style comes with its sources, of which it is all that is needed here. Lines may be as long as
# in the rest of the tree; struct proto_ops are copied and changed; sk_err and the protocol have positive errors.
kernel_style() {
	local at=.cache/checkpatch archive
	if [ ! -f "$at/checkpatch.pl" ]; then
		archive=$(find /usr/src -maxdepth 1 -name 'linux-source-*.tar.xz' | sort -V | tail -n 1)
		[ -n "$archive" ] || { echo "no sources of the kernel in /usr/src: apt-get install linux-source"; return 1; }
		mkdir -p "$at" && tar -xJf "$archive" -C "$at" --strip-components=2 --wildcards '*/scripts/checkpatch.pl' \
			'*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch' || return
	fi
	"$at/checkpatch.pl" --no-tree --quiet --no-summary --terse --max-line-length=150 --ignore CONST_STRUCT,USE_NEGATIVE_ERRNO \
		-f kmod/tsi/*.[ch]
}

scripts() {
	git ls-files '*.sh' '*.bash' '*.bats' .ci/run | xargs -r shellcheck -x
}

step "gcc" compile gcc build
step "clang" compile clang build-clang
step "clang-tidy" tidy
step "cppcheck" cpp_check
if [ -f kmod/tsi/Kbuild ]; then
	step "sparse" kernel_sparse
	step "checkpatch" kernel_style
fi
step "shellcheck" scripts
step "cases" scripts/cases.py --check
[ "$bad" = 0 ] && echo "all clean"
exit "$bad"
