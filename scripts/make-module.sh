#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: make-module.sh OUT.ko SOURCE_DIR KERNEL_VERSION WORK_DIR
#
# Build an out-of-tree kernel module. Kbuild writes beside its sources, so they are copied to WORK_DIR first; only what
# has changed, so that make does no more than it must.
set -eu
export LC_ALL=C

[ $# = 4 ] || { echo "usage: make-module.sh OUT.ko SOURCE_DIR KERNEL_VERSION WORK_DIR" >&2; exit 1; }
out=$(realpath -m "$1") source=$2 headers=/usr/src/linux-headers-$3 work=$(realpath -m "$4")
[ -d "$headers" ] || { echo "make-module: no kernel headers in $headers: apt-get install linux-headers-cloud-amd64" >&2; exit 1; }

mkdir -p "$work"
copy_changed() {
	for file in "$source"/*.[chS] "$source"/Kbuild; do
		[ -e "$file" ] || continue
		cmp -s "$file" "$work/${file##*/}" || cp "$file" "$work/"
	done
}
copy_changed
make -s -C "$headers" M="$work" modules
cp "$work/${out##*/}" "$out"
