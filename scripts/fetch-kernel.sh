#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: fetch-kernel.sh DIR
#
# Leave the guest's kernel in DIR: Debian's linux-image-cloud-amd64 of exactly the version whose headers are installed
# (tsi.ko is built against those), unpacked but never installed.
#
#	DIR/version	6.1.0-56-cloud-amd64
#	DIR/vmlinux	ELF image, for booting through PVH
#	DIR/lib/modules/VERSION/...	modules and modules.dep
#
# Nothing is done when DIR holds that version already. Works as an ordinary user: apt-get download needs no privilege.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

die() {
	echo "fetch-kernel: $*" >&2
	exit 1
}

[ $# = 1 ] || die "usage: fetch-kernel.sh DIR"
for tool in apt-get dpkg-deb dpkg-query lz4 depmod; do
	command -v "$tool" >/dev/null || die "$tool is missing: apt-get install apt dpkg lz4 kmod"
done

# "linux-headers-6.1.0-56-cloud-amd64 (= 6.1.192-2)"
depends=$(dpkg-query -W -f '${Depends}' linux-headers-cloud-amd64 2>/dev/null) ||
	die "the kernel's headers are missing: apt-get install linux-headers-cloud-amd64"
version=$(echo "$depends" | sed -n 's/.*linux-headers-\([0-9][^ ]*-cloud-amd64\).*/\1/p')
release=$(echo "$depends" | sed -n 's/.*linux-headers-[0-9][^ ]*-cloud-amd64 (= *\([^)]*\)).*/\1/p')
[ -n "$version" ] || die "cannot read the kernel's version from \"$depends\""
package=linux-image-$version${release:+=$release}

mkdir -p "$1"
dir=$(cd "$1" && pwd)
stamp="$version $release"
[ -f "$dir/stamp" ] && [ "$(cat "$dir/stamp")" = "$stamp" ] && exit 0

# apt's sandbox user cannot write here; it then says so and downloads as ourselves, which is fine.
work=$(mktemp -d "$dir/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
echo "fetch-kernel: downloading $package"
(cd "$work" && apt-get download -q "$package" >apt.log 2>&1) ||
	die "apt-get download $package failed: $(grep -v '^W:' "$work/apt.log" | tail -n 1) (no network, or old lists: apt-get update)"
dpkg-deb -x "$work"/*.deb "$work/x"

# A bzImage is its setup code and, compressed, the kernel: an LZ4 frame of the legacy kind, followed by the length.
image=$work/x/boot/vmlinuz-$version
magic=$(printf '\002\041\114\030')
for offset in $(grep -aobF "$magic" "$image" | cut -d: -f1 | head -n 8); do
	tail -c "+$((offset + 1))" "$image" | lz4 -dcq >"$work/vmlinux" 2>/dev/null || true
	[ "$(head -c 4 "$work/vmlinux")" = "$(printf '\177ELF')" ] && [ "$(stat -c %s "$work/vmlinux")" -gt 10000000 ] && break
	rm -f "$work/vmlinux"
done
[ -s "$work/vmlinux" ] || die "no LZ4 kernel in $image"

modules=lib/modules/$version
[ -d "$work/x/$modules" ] || modules=usr/$modules
[ -d "$work/x/$modules" ] || die "$package has no modules"
mkdir -p "$work/lib/modules"
mv "$work/x/$modules" "$work/lib/modules/"
depmod -b "$work" "$version"

rm -rf "${dir:?}/stamp" "${dir:?}/vmlinux" "${dir:?}/lib"
mv "$work/vmlinux" "$work/lib" "$dir/"
echo "$version" >"$dir/version"
echo "$stamp" >"$dir/stamp"
