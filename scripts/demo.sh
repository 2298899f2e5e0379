#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: demo.sh BUILD
#
# What a3s-box does, in two minutes: a web server in a microVM, its port published, seen from both sides. Everything lives
# in a temporary home; at the end nothing runs and nothing is left.
set -eu -o pipefail
build=$(realpath "$1")
export PATH=$build/src/cli:$PATH LC_ALL=C.UTF-8

work=$(mktemp -d /tmp/a3s-demo.XXXXXX)
export A3S_HOME=$work/home XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"

cleanup() {
	local status=$?
	trap - EXIT
	a3s-box rm -f web >/dev/null 2>&1 || true
	rm -rf "$work"
	[ "$status" = 0 ] || echo "demo: FAILED" >&2
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() {
	printf '\n# %s\n' "$*"
}

# Show a command as a person would type it, and what it prints.
show() {
	printf '$ %s\n' "$*"
	timeout 180 "$@" </dev/null
}

# The page, as soon as the server in the box listens; until then connections are refused.
fetch() {
	printf '$ curl %s\n' "$1"
	curl -sS --fail --max-time 30 --retry 100 --retry-delay 1 --retry-all-errors --retry-max-time 60 "$1" 2>/dev/null
}

# A name that this machine can resolve, if there is one: a well-known one, or that of the host its packages come from.
resolvable_name() {
	local name
	for name in example.com $(apt-get indextargets --format '$(URI)' 2>/dev/null | sed -n 's,^https*://\([^/:]*\)[/:].*,\1,p' | sort -u); do
		timeout 5 getent ahosts "$name" >/dev/null 2>&1 && echo "$name" && return 0
	done
	return 1
}

say "What runs the boxes here"
show a3s-box info

say "An image, made when this was built: busybox and one page"
show a3s-box load -i "$build/demo/hello.tar"
show a3s-box images

say "Run it in a virtual machine of its own, port 80 published on a port of the kernel's choice"
show a3s-box run -d --name web -p 127.0.0.1::80 a3s/hello
show a3s-box ps
show a3s-box port web
address=$(a3s-box port web 80)
fetch "http://$address/"

say "Inside: another kernel, another process table, no network card but the loopback"
show a3s-box exec web uname -sr
show a3s-box exec web ps
show a3s-box exec web ls /sys/class/net
if name=$(resolvable_name); then
	say "Names resolve inside as they do here"
	show a3s-box exec web nslookup "$name"
else
	say "This machine resolves no names now, so neither would the box: not shown"
fi

say "The server saw its client's true address"
show a3s-box logs web
a3s-box logs web 2>&1 | grep -q '127\.0\.0\.1' || { echo "demo: the log does not show 127.0.0.1" >&2; exit 1; }

say "Stop it, remove it"
show a3s-box stop -t 2 web
show a3s-box ps -a
show a3s-box rm web
show a3s-box ps -aq
[ -z "$(a3s-box ps -aq)" ] || { echo "demo: a box is left" >&2; exit 1; }
say "Done. Nothing is running and nothing is left."
