#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: registry.sh start [PORT] | stop
#
# A registry on loopback, plain HTTP, port 5000 unless said otherwise, with an image of nginx made from Debian packages: what
# README's tour pulls from. It runs in the background until it is stopped; its process id and log are in .cache/registry.
set -eu -o pipefail
top=$(realpath "$(dirname "$0")/..")
work=${A3S_REGISTRY_DIR:-$top/.cache/registry}
cache=${A3S_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/a3s-box/test-images}

. "$top/tests/lib/registry.bash"

die() {
	echo "registry: $*" >&2
	exit 1
}

# The process that an earlier start left, if it still is one.
running() {
	local pid
	pid=$(cat "$work/pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = docker-registry ] && echo "$pid"
}

start() {
	local port=$1 pid started layout
	pid=$(running) && die "process $pid runs already ($work): $0 stop ends it"
	! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || die "port $port is in use: $0 start PORT takes another"
	layout=$("$top/tests/images/build.sh" "$cache" nginx) || die "cannot make the image of nginx"
	started=$(A3S_REGISTRY_PORT=$port registry_start "$cache" "$work") || die "it did not start"
	pid=${started% *}
	echo "$pid" >"$work/pid"
	registry_push "127.0.0.1:$port" "$cache" "$layout" nginx:latest || { stop >/dev/null; die "cannot push the image"; }
	echo "registry: 127.0.0.1:$port/nginx:latest is served by process $pid; \"scripts/registry.sh stop\" ends it"
}

stop() {
	local pid
	pid=$(running) || die "none is running"
	registry_stop "$pid"
	rm -f "$work/pid"
	echo "registry: process $pid has ended"
}

case "${1:-} $#" in
"start 1" | "start 2") start "${2:-5000}" ;;
"stop 1") stop ;;
*) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
esac
