#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: build.sh CACHE IMAGE...
#
# Make the test images as OCI layouts, CACHE/IMAGE-KEY, and print each one's path. KEY is a digest of everything that
# goes in, so an image is made again only when its description changed; older ones are removed. No container engine:
# Debian packages through mmdebstrap (as root, or in a user namespace with sub-ids), the rest is scripts/oci.py.
#
# IMAGE.sh sets: config (JSON), and packages with an optional customize(ROOT), or tree(ROOT); base: an image whose layers
# come first; needs: packages of this machine that are copied from; inputs: files that count for the key; compression.
set -eu -o pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
oci=$here/../../scripts/oci.py
export guest_programs=$here/../guest-programs

die() {
	echo "images: $*" >&2
	exit 1
}

load() {
	packages='' base='' needs='' inputs='' compression=gzip config='{}'
	customize() { :; }
	unset -f tree
	# shellcheck source=/dev/null
	. "$here/$1.sh" || die "no such image: $1"
}

key() {
	load "$1"
	# shellcheck disable=SC2086 # lists of words and patterns
	{
		cat "$here/build.sh" "$here/$1.sh" "$oci" ${inputs:+$inputs}
		[ -z "$needs" ] || dpkg-query -W $needs
		[ -z "$base" ] || (key "$base")
	} | sha256sum | cut -c 1-16
}

# Run by mmdebstrap inside its namespace: build.sh --customize IMAGE ROOT
if [ "$1" = --customize ]; then
	load "$2"
	customize "$3"
	rm -rf "$3"/var/lib/apt/lists/* "$3"/var/cache/apt/* "$3"/var/cache/debconf/*-old "$3"/var/log/*.log
	exit 0
fi

# Alternatives of some packages link manual pages, which are left out, and want their directory.
debian_tar() {
	local mode=root
	[ "$(id -u)" = 0 ] || mode=unshare
	mmdebstrap --quiet --mode=$mode --variant=essential --include="${packages// /,}" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/lib/x86_64-linux-gnu/libLLVM*' --dpkgopt='path-exclude=/usr/lib/postgresql/15/lib/bitcode/*' \
		--essential-hook='mkdir -p "$1/usr/share/man/man1"' \
		--customize-hook="'$here/build.sh' --customize $1 \"\$1\"" bookworm "$2" </dev/null >"$work/log" 2>&1 ||
		{ tail -n 30 "$work/log" >&2; die "mmdebstrap failed for $1"; }
}

layer_tar() {
	if declare -F tree >/dev/null; then
		mkdir "$work/$1.root"
		tree "$work/$1.root"
		"$oci" tree "$2" "$work/$1.root"
	else
		debian_tar "$1" "$2"
	fi
}

make() {
	local out=$1 name=$2
	work=$(mktemp -d "$cache/work.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	load "$name"
	layer_tar "$name" "$work/$name.tar"
	"$oci" image "$work/out" ${base:+--base "$cache/$base-$(key "$base")"} --layer "$work/$name.tar:$compression" \
		--ref "$name:latest" --config "$(tr -d '\n' <<<"$config")"
	mv "$work/out" "$out"
	rm -rf "$work"
	trap - EXIT
}

cache=$1
shift
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
# ensure IMAGE: make it, and before it its base, unless it is there; sets $out
ensure() {
	local base_of
	base_of=$(load "$1" && echo "$base")
	[ -z "$base_of" ] || ensure "$base_of"
	out=$cache/$1-$(key "$1")
	[ ! -d "$out" ] || return 0
	echo "images: making $1" >&2
	find "$cache" -maxdepth 1 -regex ".*/$1-[0-9a-f]*" -exec rm -rf {} +
	(make "$out" "$1")
}

for name; do
	ensure "$name"
	echo "$out"
done
