#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Mode TSI: programs in the box talk to the outside as if they ran where the product runs (T01 to T14, T22, T23, T27,
# T28). Each check is made first by the same program outside of any box, as a control.

load ../lib/common
load ../lib/bed

setup_file() {
	need_network
	file_begin
	bed_up
	in_product_root sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_syn_retries'
	in_product a3s-box run -d --name tsi python3 python3 /probe/net.py idle >/dev/null 3>&-
}

teardown_file() {
	bed_down
	file_end
}

teardown() {
	clean_boxes tsi
}

# A case of tests/guest-programs/net.py, in the box.
boxed() {
	timeout -k 5 "${LIMIT:-$A3S_LIMIT}" a3s-box exec tsi python3 /probe/net.py "$@"
}

# The same where the product runs.
native() {
	in_product python3 "$A3S_TESTS/guest-programs/net.py" "$@"
}

# Both pass. What a check prints beside its "ok" lines is in $out.
both() {
	try 0 native "$@"
	try 0 boxed "$@"
}

# bats test_tags=user
@test "T01: only lo" {
	try 0 a3s-box exec tsi ls /sys/class/net
	same "$out" lo
}

# bats test_tags=user
@test "T02: bytes out and in, v4 and v6, digests equal" {
	local bytes
	bytes=$(scaled $((1 << 30)))
	LIMIT=900
	try 0 boxed send "$BED_OUTSIDE4" "$bytes"
	try 0 boxed receive "$BED_OUTSIDE4" "$bytes"
	try 0 boxed send "$BED_OUTSIDE6" "$bytes"
	try 0 boxed receive "$BED_OUTSIDE6" "$bytes"
}

# bats test_tags=user
@test "T03: refused, unreachable, no answer: the errors that the host would give" {
	local targets=("$BED_OUTSIDE4/1" "$BED_OUTSIDE6/1" 192.0.2.1/80 198.51.100.99/80 198.51.100.66/80) want
	try 0 native errors "${targets[@]}"
	want=$(sed 's/ at once$\| later$//' <<<"$out")
	try 0 boxed errors "${targets[@]}"
	same "$(sed 's/ at once$\| later$//' <<<"$out")" "$want"
	like "$out" "$BED_OUTSIDE4/1 ECONNREFUSED at once"
	like "$out" "192.0.2.1/80 ENETUNREACH at once"
	like "$out" "198.51.100.99/80 EHOSTUNREACH"
	like "$out" "198.51.100.66/80 ETIMEDOUT later"
}

@test "T04: a connect that is under way holds up nobody, and can be undone" {
	both pending "$BED_OUTSIDE4" 198.51.100.66
}

syn_sent() {
	in_product ss -Htn state syn-sent dst 198.51.100.66
}

no_syn_sent() {
	[ -z "$(syn_sent)" ]
}

# The host by itself would try for two minutes.
@test "T04 T22: the host stops connecting when the program gives up" {
	local way
	in_product_root sh -c 'echo 6 >/proc/sys/net/ipv4/tcp_syn_retries'
	wait_for 20 no_syn_sent # of earlier tests
	for way in close disconnect shutdown timeout; do
		a3s-box exec -i tsi python3 /probe/net.py abandon $way 198.51.100.66 >"$A3S_T/$way" 2>&1 <"$BED_PIPE" 3>&- &
		wait_for "$A3S_LIMIT" grep -q "gave up" "$A3S_T/$way"
		wait_for 1 no_syn_sent
		unlike "$(<"$A3S_T/$way")" "not ok"
		kill_in tsi abandon
		wait $! || true
	done
	a3s-box exec tsi python3 /probe/net.py abandon killed 198.51.100.66 >"$A3S_T/killed" 2>&1 </dev/null 3>&- &
	wait_for "$A3S_LIMIT" grep -q connecting "$A3S_T/killed"
	wait_for 10 syn_is_sent
	kill_in tsi abandon
	wait_for 1 no_syn_sent
	wait $! || true
	in_product_root sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_syn_retries'
}

syn_is_sent() {
	[ -n "$(syn_sent)" ]
}

@test "T05: epoll, poll and select, registered before and after connect" {
	LIMIT=400
	both events "$BED_OUTSIDE4" "$BED_OUTSIDE6"
}

@test "T07: half-closes, resets, linger: both ends see what happened" {
	local port
	both close "$BED_OUTSIDE4"
	port=$(sed -n 's/^port //p' <<<"$out")
	bed_saw 10 "^hello $port then 5000 bytes"
	port=$(sed -n 's/^aborted //p' <<<"$out")
	bed_saw 10 "^hold $port reset"
	port=$(sed -n 's/^closed //p' <<<"$out")
	bed_saw 10 "^hold $port eof"
	both close "$BED_OUTSIDE6"
}

@test "T12: loopback, unix and netlink sockets stay in the box" {
	both loopback
	a3s-box exec tsi python3 /probe/net.py serve blocking 127.0.0.1 7777 >"$A3S_T/server" 2>&1 </dev/null 3>&- &
	wait_for "$A3S_LIMIT" grep -q listening "$A3S_T/server"
	try 0 boxed tell 127.0.0.1 7777
	like "$out" "^cloexec 127.0.0.1"
	try 0 native try 127.0.0.1/7777
	same "$out" "127.0.0.1/7777 ECONNREFUSED"
	try 0 in_product ss -Htln
	same "$out" ""
	kill_in tsi serve
	wait $! || true
}

@test "T05 T07 T09 T10 T11 T13 T23: what a program sees is what it sees on the loopback" {
	try any in_product a3s-box run --rm probe same "$BED_OUTSIDE4" "$BED_OUTSIDE6"
	grep -A 9 "^not ok" <<<"$out" || true
	same "$status" 0
}

# The device's process has the descriptors that it had.
descriptors_are() {
	[ "$(find "/proc/$1/fd" -mindepth 1 | wc -l)" -le "$2" ]
}

# Rounds by a seed, so that one can be had again.
@test "T11 T22: everything at once, on the same sockets" {
	local vsock before seed
	try 0 in_product a3s-box run -d --name torture probe sleep 3600
	vsock=$(pgrep -P "$(jq .monitor_pid "$A3S_HOME/boxes/$out/state.json")" -x a3s-box-vsock)
	before=$(find "/proc/$vsock/fd" -mindepth 1 | wc -l)
	LIMIT=900
	for seed in 1 2; do
		try 0 timeout "$LIMIT" a3s-box exec torture torture $seed "$(scaled 400000)" "$BED_OUTSIDE4" 198.51.100.8 198.51.100.66 198.51.100.99
	done
	wait_for 20 descriptors_are "$vsock" "$before"
	try 0 a3s-box exec torture wget -q -O - "http://$BED_OUTSIDE4/"
	same "$out" "the outside"
}

# bats test_tags=user
@test "UDP: every datagram's source is the true one; sizes, errors" {
	both udp "$BED_OUTSIDE4" 198.51.100.8
}

# bats test_tags=user
@test "T13: ICMP errors reach who wants them, MSG_MORE and UDP_CORK" {
	both udp_errors "$BED_OUTSIDE4" "$BED_OUTSIDE6" 198.51.100.99 198.51.100.98 "$BED_NEXT4"
	both udp_cork "$BED_OUTSIDE4"
}

# bats test_tags=user
@test "T14 S01: ping; raw, packet and vsock sockets are refused" {
	both ping "$BED_OUTSIDE4" "$BED_OUTSIDE6" 198.51.100.99
	try 0 boxed raw
}

@test "T22: signals interrupt; a killed process's sockets close on the host at once" {
	local port
	both interrupt "$BED_OUTSIDE4"
	a3s-box exec tsi python3 /probe/net.py hold "$BED_OUTSIDE4" >"$A3S_T/hold" 2>&1 </dev/null 3>&- &
	wait_for "$A3S_LIMIT" grep -q holding "$A3S_T/hold"
	port=$(sed -n 's/^holding //p' "$A3S_T/hold")
	bed_saw 10 "^hold $port open"
	kill_in tsi hold
	bed_saw 2 "^hold $port (eof|reset)"
	status=0
	wait $! || status=$?
	same "$status" 137
}

# bats test_tags=user
@test "T27: names resolve in glibc and musl programs" {
	try 0 native names both.test v4.test v6.test nope.test
	local want=$out
	try 0 boxed names both.test v4.test v6.test nope.test
	same "$out" "$want"
	try 0 in_product a3s-box run --rm probe sh -c 'resolve-musl both.test; resolve-musl v4.test; resolve-musl nope.test; nslookup v4.test'
	like "$out" "2001:db8:7::7"
	like "$out" "198.51.100.7"
	like "$out" "nope|[Nn]ame does not resolve"
}

@test "T27: the host's resolver is 127.0.0.53, or a v6 one, or changes while the box runs" {
	in_product_root "$A3S_TESTS/lib/outside.py" dns 127.0.0.53 >"$A3S_T/stub" 2>&1 <"$BED_PIPE" 3>&- {BED_ALIVE}>&- &
	wait_for 20 grep -q '^ready$' "$A3S_T/stub"
	bed_resolv "nameserver 127.0.0.53"
	try 0 boxed names server.test
	same "$out" "server.test 198.51.100.83"
	bed_resolv "nameserver fd77::2"
	try 0 boxed names server.test
	same "$out" "server.test 198.51.100.2"
	bed_resolv "nameserver 198.51.100.54"
	try 0 boxed names server.test
	same "$out" "server.test 198.51.100.84"
	bed_resolv "search search.test" "nameserver 198.51.100.53" "options ndots:2"
	try 0 boxed names server.test
	same "$out" "server.test 198.51.100.83"
	bed_resolv "nameserver 10.77.0.2"
}

@test "T27: --dns servers in their order, --add-host, search" {
	try 0 in_product a3s-box run --rm --dns 198.51.100.54 --dns 198.51.100.53 --add-host static.test:198.51.100.8 python3 \
		python3 /probe/net.py names server.test static.test
	same "$out" $'server.test 198.51.100.84\nstatic.test 198.51.100.8'
	# the first one does not answer: the second does
	try 0 in_product a3s-box run --rm --dns 198.51.100.55 --dns 198.51.100.53 python3 python3 /probe/net.py names server.test
	same "$out" "server.test 198.51.100.83"
	bed_resolv "search search.test" "nameserver 10.77.0.2"
	try 0 in_product a3s-box run --rm python3 python3 /probe/net.py names short
	same "$out" "short 198.51.100.8"
	bed_resolv "nameserver 10.77.0.2"
}

@test "T28: the host's loopback is out of reach, and in reach when asked for" {
	in_product_root "$A3S_TESTS/lib/outside.py" serve 127.0.0.9 >"$A3S_T/local" 2>&1 <"$BED_PIPE" 3>&- {BED_ALIVE}>&- &
	wait_for 20 grep -q '^ready$' "$A3S_T/local"
	try 0 native try 127.0.0.1/80 ::1/80
	same "$out" $'127.0.0.1/80 open\n::1/80 open'
	try 0 boxed try 127.0.0.1/80 ::1/80 0.0.0.0/80 ::/80 ::ffff:127.0.0.1/80 192.0.0.10/80 127.1.2.3/80 ::ffff:0.0.0.0/80
	unlike "$out" open
	# the host's other addresses are as open as to any program on it
	try 0 boxed try "$BED_INSIDE4/80"
	same "$out" "$BED_INSIDE4/80 open"
	try 0 in_product a3s-box run --rm --add-host myhost:host-gateway python3 python3 -c '
import socket
s = socket.create_connection(("myhost", 80), 10)
s.sendall(b"GET /who HTTP/1.0\r\n\r\n")
print(s.makefile().read().split()[-1])'
	like "$out" "^127\.0\.0\.1$"
}
