#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: make-initramfs.sh OUT INIT KERNEL_DIR [MODULE.ko ...]
#
# The guest's initramfs: init, the modules that it loads, and the order to load them in. Not compressed: unpacking costs
# more than reading. The same input gives the same bytes. Modules lose their signatures: nothing
# insists on them here, and checking them takes time.
#
#	/init
#	/lib/modules/*.ko	flat; extra modules given as arguments included
#	/lib/modules/boot	names in load order, loaded before the host is answered
#	/lib/modules/net	likewise, loaded when the first network card is due
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

BOOT="virtio_pci vmw_vsock_virtio_transport virtio_blk overlay squashfs"
NET="virtio_net"

die() {
	echo "make-initramfs: $*" >&2
	exit 1
}

[ $# -ge 3 ] || die "usage: make-initramfs.sh OUT INIT KERNEL_DIR [MODULE.ko ...]"
command -v cpio >/dev/null || die "cpio is missing: apt-get install cpio"
out=$1 init=$2 kernel=$3
shift 3
modules=$kernel/lib/modules/$(cat "$kernel/version")
[ -f "$modules/modules.dep" ] || die "no kernel in $kernel: run scripts/fetch-kernel.sh $kernel"

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
mkdir -p "$root/lib/modules"

# modules.dep: "path: dependency ...", nearest dependency first, so the load order is the line backwards.
add() {
	line=$(grep "/$1\.ko:" "$modules/modules.dep") || die "the kernel has no module $1"
	order=
	for path in ${line%%:*} ${line#*:}; do
		order="$path $order"
	done
	for path in $order; do
		name=${path##*/}
		[ -e "$root/lib/modules/$name" ] && continue
		strip --strip-debug -o "$root/lib/modules/$name" "$modules/$path"
		echo "$name" >>"$root/lib/modules/$2"
	done
}

for module in $BOOT; do add "$module" boot; done
for module in $NET; do add "$module" net; done
for file; do
	strip --strip-debug -o "$root/lib/modules/${file##*/}" "$file"
done
strip -o "$root/init" "$init"

chmod 755 "$root" "$root/lib" "$root/lib/modules" "$root/init"
find "$root/lib/modules" -type f -exec chmod 644 {} +
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$work/cpio"
mv "$work/cpio" "$out"
