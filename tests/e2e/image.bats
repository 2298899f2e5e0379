#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images at their worst: hostile and damaged ones, registries that lie or stall, kill -9, a full disk (I01, I03-I06).

load ../lib/common

setup_file() {
	file_begin empty
	mkdir "$A3S_T/layouts"
	cp -a "$A3S_SEED"/*.json "$A3S_HOME/" 2>/dev/null || true
	# Layouts of our own: the ones the registry was filled from may lie where an ordinary user cannot look.
	layout busybox
	layout nginx
	# What every refusal must leave as it was.
	try 0 a3s-box load -i "$A3S_T/layouts/busybox"
	mkdir "$A3S_T/made"
	: >"$A3S_T/pids"
}

layout() {
	skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$A3S_REGISTRY/$1:latest" "oci:$A3S_T/layouts/$1:latest" 3>&-
}

teardown_file() {
	local pid
	while read -r pid; do
		kill "$pid" 2>/dev/null || true
	done <"$A3S_T/pids"
	file_end
}

layers() {
	"$A3S_TESTS/images/layers.py" "$@"
}

oci() {
	"$A3S_TESTS/../scripts/oci.py" "$@"
}

everything() {
	find "$A3S_HOME/images" -printf '%P %s\n' | sort
	cat "$A3S_HOME/images/index.json"
}

# A registry with one image and one fault: bad_registry LAYOUT MODE sets $registry. Its command line has no word that
# leftover_pids looks for.
bad_registry() {
	local pipe
	pipe=$(mktemp -u "$A3S_T/registry.XXXXXX")
	mkfifo "$pipe"
	ln -sfn "$1" "$A3S_T/layout"
	(cd "$A3S_T" && exec python3 - layout "$2" <"$A3S_TESTS/lib/bad_registry.py" >"$pipe" 2>/dev/null 3>&-) &
	echo $! >>"$A3S_T/pids"
	read -rt 20 registry <"$pipe"
}

# bats test_tags=user
@test "I03: everything a layer can hold arrives in the box" {
	local work=$A3S_T/made part lines
	for part in lower upper; do
		layers make "$part" "$work/$part.tar"
	done
	oci image "$work/faithful" --base "$A3S_T/layouts/busybox" --layer "$work/lower.tar" --layer "$work/upper.tar:zstd" \
		--config '{"Env":["PATH=/bin:/usr/bin"],"Cmd":["sh"]}' --ref faithful:v1
	try 0 a3s-box load -i "$work/faithful"
	# shellcheck disable=SC2016 # for the box's shell
	try 0 a3s-box run --rm faithful:v1 sh -c 'cd /keep
		stat -c "%n %a %u %g %Y" . su sticky
		stat -c "%n %F %t,%T %a" null pipe
		stat -c "%n %h" one two
		readlink absolute
		cat long-*/long-* unicode-* back* cap
		stat -c "%n %a %u %g" /linked; cat /linked new
		ls -d /gone 2>&1; ls /opaque /single /renewed /file-then-dir; stat -c "%a" /renewed; cat /dir-then-file
		[ one -ef two ] && echo same file'
	read -r -d '' lines <<-'END' || true
		. 2751 70000 4000000000 1700000000
		su 6755 65536 65537 1600000001
		sticky 1777 0 0 0
		null character special file 1,3 666
		pipe fifo 0,0 600
		one 2
		two 2
		/keep/one
		long
		u
		b
		cap
		/linked 6755 65536 65537
		su
		new
		ls: /gone: No such file or directory
		/file-then-dir:
		y

		/opaque:
		new

		/renewed:
		new

		/single:
		b
		700
		now a file
		same file
	END
	same "$out" "$lines"
	try 0 a3s-box rmi faithful:v1
}

# bats test_tags=user
@test "I04: hostile layers are refused with one line, and nothing is left behind" {
	local name says before
	before=$(everything)
	export A3S_IMAGE_MAX_ENTRIES=2000 A3S_IMAGE_MAX_LAYER=64m
	while IFS=$'\t' read -r name says; do
		layers make "$name" "$A3S_T/made/$name.tar"
		try 1 a3s-box load -i "$A3S_T/made/$name.tar"
		complains "$says"
		same "$(everything)" "$before"
	done < <(layers list)
	[ ! -e "$A3S_T/outside" ] && [ ! -e "$A3S_HOME/outside" ] && [ ! -e /outside ]
}

# bats test_tags=user
@test "I04: a hostile layer on top of a good image is refused too, by digest and all" {
	local before
	before=$(everything)
	oci image "$A3S_T/made/evil" --base "$A3S_T/layouts/busybox" --layer "$A3S_T/made/dotdot.tar" --ref evil:v1
	try 1 a3s-box load -i "$A3S_T/made/evil"
	complains "leads out of the image"
	same "$(everything)" "$before"
}

# A copy of busybox's layout with one blob changed: tampered NAME SUBJECT, SUBJECT being manifest, config or layer.
tampered() {
	local dir=$A3S_T/made/$1 manifest blob
	cp -r "$A3S_T/layouts/busybox" "$dir"
	manifest=$(jq -r '.manifests[0].digest' "$dir/index.json" | cut -d : -f 2)
	case $2 in
	manifest) blob=$manifest ;;
	config) blob=$(jq -r .config.digest "$dir/blobs/sha256/$manifest" | cut -d : -f 2) ;;
	layer) blob=$(jq -r '.layers[0].digest' "$dir/blobs/sha256/$manifest" | cut -d : -f 2) ;;
	esac
	printf ' ' >>"$dir/blobs/sha256/$blob"
}

# bats test_tags=user
@test "I04: blobs of an OCI layout that are not what their names say" {
	local before part
	try 0 a3s-box rmi -f "$(a3s-box images -q | head -n 1)"
	before=$(everything)
	for part in manifest config layer; do
		tampered "t-$part" "$part"
		try 1 a3s-box load -i "$A3S_T/made/t-$part"
		complains "mismatch"
		same "$(everything)" "$before"
	done
	rm "$A3S_T/made/t-layer/blobs/sha256/"*
	try 1 a3s-box load -i "$A3S_T/made/t-layer"
	complains "No such file"
	try 0 a3s-box load -i "$A3S_T/layouts/busybox"
}

# bats test_tags=user
@test "I04: a registry that sends something else than it promised" {
	local mode before registry
	local -A says=([manifest]="digest|manifest" [config]="igest" [blob]="igest" [truncated]="EOF|igest|broke off" [errors]="500|out of order" [html]="JSON|manifest")
	try 0 a3s-box rmi -f "$(a3s-box images -q | head -n 1)"
	before=$(everything)
	for mode in "${!says[@]}"; do
		bad_registry "$A3S_T/layouts/busybox" "$mode"
		# by digest: what the user holds in hand
		try 1 a3s-box pull "$registry/busybox@$(jq -r '.manifests[0].digest' "$A3S_T/layouts/busybox/index.json")"
		complains "${says[$mode]}"
		same "$(everything)" "$before"
	done
	bad_registry "$A3S_T/layouts/busybox" fine
	try 0 a3s-box pull "$registry/busybox"
}

# bats test_tags=user
@test "I01: a mirror of registries.conf is used" {
	mkdir -p "$HOME/.config/containers"
	printf '[[registry]]\nprefix = "mirrored.invalid"\nlocation = "mirrored.invalid"\n[[registry.mirror]]\nlocation = "%s"\ninsecure = true\n' \
		"$A3S_REGISTRY" >"$HOME/.config/containers/registries.conf"
	try 0 a3s-box pull mirrored.invalid/busybox
	like "$out" "Digest: sha256:"
	rm "$HOME/.config/containers/registries.conf"
	try 0 a3s-box rmi mirrored.invalid/busybox
}

# bats test_tags=user
@test "I05: pulled five times at once: one image, one copy of its layers" {
	local i pids=() before
	try 0 a3s-box rmi -f "$(a3s-box images -q | head -n 1)"
	before=$(find "$A3S_HOME/images/layers" -type f | wc -l)
	for i in 1 2 3 4 5; do
		timeout "$A3S_LIMIT" a3s-box pull -q "$A3S_REGISTRY/busybox" >"$A3S_T/pull.$i" 2>&1 3>&- </dev/null &
		pids+=($!)
	done
	for i in 1 2 3 4 5; do
		wait "${pids[$i - 1]}" || fail_with "pull $i: $(cat "$A3S_T/pull.$i")"
	done
	same "$(find "$A3S_HOME/images/layers" -type f | wc -l)" $((before + 1))
	same "$(a3s-box images -q | sort -u | wc -l)" 1
	same "$(ls "$A3S_HOME/images/incoming")" ""
}

@test "I05: one image in twenty boxes: stored once" {
	local i size
	size=$(du -s "$A3S_HOME/images" | cut -f 1)
	for i in $(seq 20); do
		try 0 a3s-box create --name "many$i" "$A3S_REGISTRY/busybox" true
	done
	same "$(du -s "$A3S_HOME/images" | cut -f 1)" "$size"
	try "1|2" a3s-box rmi "$A3S_REGISTRY/busybox"
	complains "many[0-9]+"
	try 0 a3s-box rm $(seq -f 'many%g' 20)
	try 0 a3s-box rmi "$A3S_REGISTRY/busybox"
	same "$(find "$A3S_HOME/images/layers" -type f | wc -l)" 0
}

incoming_has() {
	# shellcheck disable=SC2086 # words of find
	[ -n "$(find "$A3S_HOME/images/incoming" $1 2>/dev/null)" ]
}

nobody_works() {
	[ -z "$(leftover_pids)" ]
}

# kill_when CONDITION REFERENCE: kill -9 a pull once something is in its directory
kill_when() {
	local pid
	a3s-box pull -q "$2" >/dev/null 2>&1 3>&- </dev/null &
	pid=$!
	wait_for 60 incoming_has "$1"
	kill -9 "$pid"
	wait "$pid" || true
	wait_for 20 nobody_works || { leftovers; return 1; }
	try 1 a3s-box inspect "$2"
}

# bats test_tags=user
@test "I06: kill -9 of a pull at each stage: no process, no half image, the next pull works" {
	local registry before
	before=$(everything)
	kill_when "-name lock" "$A3S_REGISTRY/nginx"
	kill_when "-name blobs" "$A3S_REGISTRY/nginx"
	kill_when "-name *.squashfs" "$A3S_REGISTRY/nginx"
	bad_registry "$A3S_T/layouts/nginx" stall
	kill_when "-path */blobs/* -size +100" "$registry/nginx"
	try 0 a3s-box pull "$A3S_REGISTRY/nginx"
	same "$(ls "$A3S_HOME/images/incoming")" ""
	try 0 a3s-box rmi "$A3S_REGISTRY/nginx"
	same "$(everything)" "$before"
}

# Not as an ordinary user: in a user namespace skopeo takes itself for root and looks for root's signatures.
@test "I06: a full disk: one line, nothing left, and with room it works" {
	unshare -rm true 2>/dev/null || unshare -m true 2>/dev/null || skip "no mount namespace"
	# shellcheck disable=SC2016 # for the inner shell
	try 0 unshare -rm bash -c '
		set -e
		mkdir -p "$A3S_T/small"; mount -t tmpfs -o size=24m,mode=700 none "$A3S_T/small"
		export A3S_HOME=$A3S_T/small/home XDG_RUNTIME_DIR=$A3S_T/small/run; mkdir -m 700 "$A3S_HOME" "$XDG_RUNTIME_DIR"
		for size in 24m 60m 100m; do
			mount -o remount,size=$size none "$A3S_T/small"
			a3s-box pull "$A3S_REGISTRY/nginx" >/dev/null 2>"$A3S_T/full.err" && { echo "$size was enough"; exit 1; }
			cat "$A3S_T/full.err"
			[ "$(wc -l <"$A3S_T/full.err")" = 1 ]; grep -qi "no space left" "$A3S_T/full.err"
			[ "$(find "$A3S_HOME/images" -type f -size +1k | wc -l)" = 0 ]
		done
		mount -o remount,size=600m none "$A3S_T/small"
		a3s-box pull -q "$A3S_REGISTRY/nginx"'
	like "$out" "$A3S_REGISTRY/nginx:latest$"
}

# bats test_tags=user
@test "R08: a corrupt index is named, refused and kept" {
	local kept
	kept=$(cat "$A3S_HOME/images/index.json")
	printf '{"version":1,"images":[{"id":"sha2' >"$A3S_HOME/images/index.json"
	try "1|125" a3s-box images
	complains "images/index.json"
	try "1|125" a3s-box pull "$A3S_REGISTRY/busybox"
	complains "images/index.json"
	same "$(cat "$A3S_HOME/images/index.json")" '{"version":1,"images":[{"id":"sha2'
	echo "$kept" >"$A3S_HOME/images/index.json"
	try 0 a3s-box images
}

# bats test_tags=user
@test "R08: a damaged image is named, listed, fetched again or removed" {
	local id layer
	try 0 a3s-box pull -q "$A3S_REGISTRY/busybox"
	id=$(a3s-box images -q --no-trunc "$A3S_REGISTRY/busybox" | head -n 1)
	layer=$(find "$A3S_HOME/images/layers" -type f | head -n 1)
	rm -f "$A3S_HOME"/images/layers/*
	try "1|125" a3s-box run --rm --pull never "$A3S_REGISTRY/busybox" true
	complains "damaged.*squashfs"
	try 0 a3s-box pull -q "$A3S_REGISTRY/busybox"
	[ -f "$layer" ]
	: >"$A3S_HOME/images/${id#sha256:}/config.json"
	try "1|125" a3s-box run --rm --pull never "$A3S_REGISTRY/busybox" true
	complains "damaged.*config.json"
	try 0 a3s-box images
	like "$out" "$A3S_REGISTRY/busybox"
	try 0 a3s-box rmi -f "${id#sha256:}"
	try 0 a3s-box pull -q "$A3S_REGISTRY/busybox"
	try 0 a3s-box inspect "$A3S_REGISTRY/busybox"
}
