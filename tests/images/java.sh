# shellcheck shell=bash disable=SC2034,SC2154
# A web server in Java, on the JDK's own HTTP server.
packages="default-jdk-headless"
inputs="$guest_programs/Server.java"
compression=zstd
config='{"Cmd":["java","-Xshare:auto","-XX:TieredStopAtLevel=1","-cp","/probe","Server"],"ExposedPorts":{"8000/tcp":{}},
"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'

customize() {
	install -D -m 644 "$guest_programs/Server.java" "$1/probe/Server.java"
	mount -t proc proc "$1/proc" 2>/dev/null || true
	chroot "$1" javac -d /probe /probe/Server.java
	umount "$1/proc" 2>/dev/null || true
	rm -rf "$1"/usr/lib/jvm/*/jmods "$1"/usr/lib/jvm/*/lib/src.zip
}
