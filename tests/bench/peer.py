#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of the network figures: the same kernel, machine line and image, but a network card behind passt or slirp.

peer.py BUILD WORK HOME IMAGE passt|slirp PORT COMMAND
WORK/machine holds the machine line, NUL-separated, without kernel devices. The image's layers are found in HOME; a small
init mounts them under a tmpfs, sets a static address and starts the command. The host's PORT leads to port 80 of the guest.
Runs until it is killed; prints "pids" and the process ids of QEMU and passt.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

ADDRESS, GATEWAY = "10.0.9.15", "10.0.9.2"
MTU = {"passt": 65520, "slirp": 1500}  # the largest that each can
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for list in boot net; do
	for m in $(/bin/busybox cat /lib/modules/$list); do /bin/busybox insmod /lib/modules/$m 2>/dev/null; done
done
lower=
i=0
for d in $(cd /dev && /bin/busybox ls -d vd[a-z]); do
	/bin/busybox mkdir -p /l/$i
	/bin/busybox mount -t squashfs -o ro /dev/$d /l/$i
	lower=/l/$i${lower:+:$lower}
	i=$((i + 1))
done
/bin/busybox mkdir -p /t
/bin/busybox mount -t tmpfs t /t
/bin/busybox mkdir -p /t/u /t/w /t/root
/bin/busybox mount -t overlay -o lowerdir=$lower,upperdir=/t/u,workdir=/t/w o /t/root
for d in proc sys dev; do /bin/busybox mount --bind /$d /t/root/$d; done
/bin/busybox ip link set lo up
/bin/busybox ip addr add ADDRESS/24 dev eth0
/bin/busybox ip link set eth0 mtu MTU up
/bin/busybox ip route add default via GATEWAY
exec /bin/busybox chroot /t/root sh -c "$(/bin/busybox cat /command)"
"""


def layers(home, image):
    found = subprocess.run(["a3s-box", "inspect", "--format", "{{.Id}}", image], env={**os.environ, "A3S_HOME": home}, check=True,
                           stdout=subprocess.PIPE, text=True).stdout.strip()
    with open(f"{home}/images/{found.split(':')[1]}/config.json", encoding="utf-8") as f:
        return [f"{home}/images/layers/{digest.split(':')[1]}.squashfs" for digest in json.load(f)["rootfs"]["diff_ids"]]


def initramfs(build, work, link, command):
    """The guest's own initramfs with another init: cpio archives may follow one another."""
    root = f"{work}/{link}"
    os.makedirs(root + "/bin")
    shutil.copy("/bin/busybox", root + "/bin/busybox")
    for directory in ("proc", "sys", "dev"):
        os.makedirs(f"{root}/{directory}")
    with open(root + "/init", "w", encoding="ascii") as f:
        f.write(INIT.replace("ADDRESS", ADDRESS).replace("GATEWAY", GATEWAY).replace("MTU", str(MTU[link])))
    os.chmod(root + "/init", 0o755)
    with open(root + "/command", "w", encoding="ascii") as f:
        f.write(command)
    extra = subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    path = root + ".cpio"
    with open(path, "wb") as out, open(build + "/src/guest/initramfs", "rb") as guest:
        data = guest.read()
        out.write(data + b"\0" * (-len(data) % 512) + extra)
    return path


def start_passt(port):
    """passt with one end of a socket pair: its process, our end and QEMU's words for it."""
    ours, theirs = socket.socketpair()
    passt = subprocess.Popen(["passt", "-q", "-f", "-4", "-a", ADDRESS, "-n", "24", "-g", GATEWAY, "-m", str(MTU["passt"]),
                              "-t", f"{port}:80", "-F", str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()
    return passt, ours, f"stream,id=n,addr.type=fd,addr.str={ours.fileno()}"


def main():
    build, work, home, image, link, port, command = sys.argv[1:]
    with open(work + "/machine", "rb") as f:
        machine = f.read().decode().rstrip("\0").split("\0")
    machine = [word.replace(" a3s.poweroff", "") for word in machine]
    machine[machine.index("-initrd") + 1] = initramfs(build, work, link, command)
    for i, layer in enumerate(layers(home, image)):
        machine += ["-drive", f"file={layer},format=raw,if=none,id=l{i},readonly=on", "-device", f"virtio-blk-pci,drive=l{i},bus=port{i + 1},romfile="]
    children, pass_fds = [], []
    if link == "passt":
        passt, ours, netdev = start_passt(port)
        children, pass_fds = [passt], [ours.fileno()]
    else:
        netdev = f"user,id=n,net=10.0.9.0/24,host={GATEWAY},ipv6=off,restrict=off,hostfwd=tcp:0.0.0.0:{port}-{ADDRESS}:80"
    machine += ["-netdev", netdev, "-device", f"virtio-net-pci,netdev=n,host_mtu={MTU[link]},bus=port6,romfile="]
    children.insert(0, subprocess.Popen(machine, pass_fds=pass_fds, stdin=subprocess.DEVNULL))
    print("pids", *[child.pid for child in children], flush=True)

    def stop(*_):
        for child in children:
            child.kill()

    signal.signal(signal.SIGTERM, stop)
    children[0].wait()
    stop()


main()
