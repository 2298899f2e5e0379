#!/bin/bash
# SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
#
# usage: run.sh KERNEL_DIR TSI_KO [FILTER]
#
# The module's fast test: no device, no monitor. A guest of a bare kernel, the module and a test program in which threads
# stand in for the host's half, over vsock's loopback:
#
#	 .---------------------- guest ----------------------.
#	 |  case: inet sockets --- tsi.ko --.                 |
#	 |  case: host.c, vsock -- loopback-'  (host_cid=1)   |
#	 '----------------------------------------------------'
#
# KERNEL_DIR holds vmlinux or vmlinuz*, and the modules somewhere below. FILTER: only cases whose name contains it.
set -u -e -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
kernel_dir=$1 module=$2 filter=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find_one() {
	find "$kernel_dir" -name "$1" -print -quit
}

kernel=$(find_one 'vmlinux')
[ -n "$kernel" ] || kernel=$(find_one 'vmlinuz*')
mkdir -p "$work/root"/{modules,proc,sys,tmp,dev}
for name in vsock vmw_vsock_virtio_transport_common vsock_loopback; do
	cp "$(find_one "$name.ko")" "$work/root/modules/"
done
cp "$module" "$work/root/modules/"
gcc -static -pthread -O1 -g -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare \
	-I "$here/../../../kmod/tsi" -o "$work/root/init" "$here"/*.c
(cd "$work/root" && mknod dev/console c 5 1 && find . | cpio -o -H newc --quiet) >"$work/initramfs"

accel=tcg,thread=multi
timeout "${A3S_KMOD_TIMEOUT:-500}" qemu-system-x86_64 -M q35 -accel "$accel" -cpu max -smp 2 -m "${A3S_KMOD_MEMORY:-512}" -nodefaults \
	-no-reboot -display none -serial stdio -kernel "$kernel" -initrd "$work/initramfs" \
	-append "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic tsi.filter=$filter" | tee "$work/log"
grep -q '^tsi: [1-9][0-9]* passed, 0 failed' "$work/log"
