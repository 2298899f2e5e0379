#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: run.sh BUILD RESULTS [user] [FILE...]
#        run.sh --images	make the images that are not in the cache, and nothing else
#
# End-to-end tests: real boxes, a real registry on loopback, images made from Debian packages. Files run one after the
# other, so that boxes do not compete for the machine. With "user", started by root: only what is tagged user, as an
# ordinary user, on copies of the programs. Writes RESULTS.count. A3S_TEST_FILTER: a bats filter for names.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cd "$top" || exit 1
: "${A3S_TEST_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/a3s-box/test-images}"
IMAGES="busybox probe nginx redis postgres python3 tools java"
# shellcheck disable=SC2086 # words
[ "$1" != --images ] || exec "$top/tests/images/build.sh" "$A3S_TEST_CACHE" $IMAGES
build=$(realpath "$1")
results=$(realpath -m "$2")
tag=${3:-}
shift 3 2>/dev/null || shift $#
files=("$@")
[ "${#files[@]}" -gt 0 ] || files=("$here"/*.bats)
# What the pass as an ordinary user needs of them.
[ "$tag" != user ] || IMAGES="busybox probe nginx python3"
# Seconds that a file may take.
[ "${A3S_SCALE:-1/16}" = 1 ] && limit=7200 || limit=1200
A3S_TESTS=$top/tests
export A3S_TESTS A3S_TEST_CACHE LC_ALL=C

. "$A3S_TESTS/lib/registry.bash"

fatal() {
	echo "e2e: $*" >&2
	echo "0 1 0" >"$results.count"
	exit 1
}

# An ordinary user may be unable to look into this tree: the programs and tests are copied to where it can.
become_user() {
	local stage=$work/stage part
	mkdir -p "$stage/src" "$stage/demo"
	for part in cli monitor vsock resolver guest; do
		mkdir "$stage/src/$part"
		find "$build/src/$part" -maxdepth 1 -type f ! -name '*.a' -exec cp -t "$stage/src/$part" {} +
	done
	cp -a "$top/tests" "$stage/tests"
	cp -a "$top/scripts" "$stage/scripts"
	for part in busybox probe; do # the cache may be out of its sight, too
		cp -a "$(grep "/$part-" <<<"$layouts")" "$stage/$part"
		declare -gx "A3S_LAYOUT_$part=$stage/$part"
	done
	chmod -R a+rX "$work"
	mkdir -m 700 "$work/user" "$work/user/run"
	chown -R nobody: "$work/user"
	build=$stage
	A3S_TESTS=$stage/tests
	as_user=(setpriv --reuid=nobody --regid="$(id -gn nobody)" --clear-groups --inh-caps=-all env "HOME=$work/user" "USER=nobody"
		"TMPDIR=$work/user" "XDG_RUNTIME_DIR=$work/user/run" "BATS_TMPDIR=$work/user")
}

cleanup() {
	local pid
	for pid in "${registries[@]}"; do
		registry_stop "$pid"
	done
	rm -rf "$work"
}

registries=()
work=$(mktemp -d /tmp/a3s-e2e.XXXXXX)
chmod 755 "$work"
trap cleanup EXIT
trap 'exit 130' INT TERM
mkfifo "$work/never"
A3S_NEVER=$work/never
mkdir -p "$results"
as_user=()

# shellcheck disable=SC2086 # words
layouts=$("$A3S_TESTS/images/build.sh" "$A3S_TEST_CACHE" $IMAGES) || fatal "cannot make the test images"
for auth in "" auth; do
	started=$(registry_start "$A3S_TEST_CACHE" "$work/registry" $auth) || fatal "the registry did not start"
	registries+=("${started% *}")
	[ -n "$auth" ] && A3S_REGISTRY_AUTH=${started#* } || A3S_REGISTRY=${started#* }
done
export A3S_REGISTRY A3S_REGISTRY_AUTH
for name in $IMAGES; do
	layout=$(grep "/$name-" <<<"$layouts")
	registry_push "$A3S_REGISTRY" "$A3S_TEST_CACHE" "$layout" "$name:latest" || fatal "cannot push $name"
	declare -x "A3S_LAYOUT_$name=$layout"
done

[ "$tag" = user ] && [ "$(id -u)" = 0 ] && become_user
export PATH=$build/src/cli:$PATH
export A3S_BUILD=$build
export A3S_SEED=$work/${tag:-seed}/seed
"${as_user[@]}" mkdir -p "$A3S_SEED"

for name in $IMAGES; do
	"${as_user[@]}" env A3S_HOME="$A3S_SEED" timeout 300 a3s-box pull -q "$A3S_REGISTRY/$name:latest" </dev/null >"$results/seed.log" 2>&1 &&
		"${as_user[@]}" env A3S_HOME="$A3S_SEED" a3s-box tag "$A3S_REGISTRY/$name:latest" "$name:latest" </dev/null >>"$results/seed.log" 2>&1 ||
		fatal "cannot pull $name: $(cat "$results/seed.log")"
done
# The accelerator's verdict is found out once, not in every file.
"${as_user[@]}" env A3S_HOME="$A3S_SEED" timeout 300 a3s-box info >"$results/info.log" 2>&1 </dev/null

passed=0 failed=0 skipped=0
for file in "${files[@]}"; do
	name=$(basename "$file" .bats)
	file=$here/$name.bats
	filter=()
	[ -z "$tag" ] || filter+=(--filter-tags "$tag")
	[ -z "${A3S_TEST_FILTER:-}" ] || filter+=(--filter "$A3S_TEST_FILTER")
	grep -q "_tags=.*$tag" "$file" || [ -z "$tag" ] || continue
	started=$SECONDS
	echo "-- $name"
	"${as_user[@]}" timeout -k 30 "${A3S_FILE_LIMIT:-$limit}" bats --tap --timing "${filter[@]}" "$A3S_TESTS/e2e/$name.bats" </dev/null 2>&1 |
		tee "$results/$name.tap" | grep -vE '^[0-9]+\.\.[0-9]+$'
	p=$(grep -cE '^ok [0-9]+ ' "$results/$name.tap")
	s=$(grep -cE '^ok [0-9]+ .*# skip' "$results/$name.tap")
	f=$(grep -cE '^not ok ' "$results/$name.tap")
	planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$results/$name.tap" | head -n 1)
	# tests that were planned and never reported (a file that died or ran out of time) have failed
	lost=$((${planned:-1} - p - f))
	[ "$lost" -le 0 ] || { f=$((f + lost)); echo "   $lost tests of $name did not report"; }
	passed=$((passed + p - s)) skipped=$((skipped + s)) failed=$((failed + f))
	echo "   $name: $((SECONDS - started)) s"
done
echo "$passed $failed $skipped" >"$results.count"
