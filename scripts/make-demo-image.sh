#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: make-demo-image.sh OUT.tar
#
# The image that `make run` shows: a web server made of Debian's busybox-static and one page, as `docker save` would write it.
set -eu
out=$1
scripts=$(cd "$(dirname "$0")" && pwd)
[ -x /bin/busybox ] || { echo "make-demo-image: /bin/busybox is missing: apt-get install busybox-static" >&2; exit 1; }

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/var/www"
cp /bin/busybox "$root/bin/"
for applet in $(/bin/busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
echo "root:x:0:0:root:/:/bin/sh" >"$root/etc/passwd"
echo "root:x:0:" >"$root/etc/group"
cat >"$root/var/www/index.html" <<X
<!doctype html>
<title>a3s-box</title>
<p>This page comes from a web server in a virtual machine of its own. The machine has no network card.
X
"$scripts/oci.py" tree "$work/layer.tar" "$root"
"$scripts/oci.py" image "$work/image.tar" --layer "$work/layer.tar" --ref a3s/hello:latest --config '{
	"Cmd": ["httpd", "-f", "-v", "-p", "80", "-h", "/var/www"],
	"Env": ["PATH=/bin"], "ExposedPorts": {"80/tcp": {}}}'
mv "$work/image.tar" "$out"
