#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many connections, stalled ones among busy ones, and what is left of them (T08 T11 T20, P09), and a vsock
# process that is killed in a running box (R02). The programs are guest-programs/load.py and share.py; lib/outside.py runs
# outside and, published, in the box.

load ../lib/common
load ../lib/bed

HOSTS="$BED_OUTSIDE4 198.51.100.8 $BED_OUTSIDE6 $BED_NEXT4"
PORTS="7 9 19 79 80 81 82 83 85 86"

setup_file() {
	need_network
	file_begin
	ulimit -n 200000 2>/dev/null || ulimit -n "$(ulimit -H -n)"
	bed_up
	in_product_root sh -c 'echo "24000 65000" >/proc/sys/net/ipv4/ip_local_port_range'
	local publish=() port
	for port in $PORTS; do
		publish+=(-p "$port:$port")
	done
	in_product a3s-box run -d --name load -m 1g "${publish[@]}" -p 7000:7000 python3 sleep infinity >/dev/null 3>&-
	a3s-box exec -i load sh -c 'cat >/probe/outside.py' <"$A3S_TESTS/lib/outside.py" 3>&-
	mkfifo "$A3S_T/inside"
	exec {INSIDE}<>"$A3S_T/inside"
	export INSIDE
	a3s-box exec -i load python3 /probe/outside.py serve >"$A3S_T/inside.log" 2>&1 <"$A3S_T/inside" 3>&- {BED_ALIVE}>&- &
	wait_for "$A3S_LIMIT" grep -q '^ready$' "$A3S_T/inside.log"
}

teardown_file() {
	[ -z "${INSIDE:-}" ] || exec {INSIDE}>&-
	bed_down
	file_end
}

teardown() {
	clean_boxes load
}

boxed() {
	timeout -k 5 "${LIMIT:-$A3S_LIMIT}" a3s-box exec load python3 "/probe/$1" "${@:2}"
}

outside() {
	in_outside timeout -k 5 "${LIMIT:-$A3S_LIMIT}" python3 "$A3S_TESTS/guest-programs/$1" "${@:2}"
}

native() {
	in_product timeout -k 5 "${LIMIT:-$A3S_LIMIT}" python3 "$A3S_TESTS/guest-programs/$1" "${@:2}"
}

# background NAME COMMAND...: its output is in $A3S_T/NAME; its input ends with end_input NAME
background() {
	local name=$1
	shift
	rm -f "$A3S_T/$name.in"
	mkfifo "$A3S_T/$name.in"
	"$@" >"$A3S_T/$name" 2>&1 <"$A3S_T/$name.in" 3>&- {BED_ALIVE}>&- {INSIDE}>&- &
	declare -g "pid_$name=$!"
	exec {held}>"$A3S_T/$name.in"
	declare -g "input_$name=$held"
}

end_input() {
	local fd=input_$1
	fd=${!fd}
	exec {fd}>&-
}

# ended NAME: its end is awaited; sets $status
ended() {
	local pid=pid_$1
	end_input "$1"
	status=0
	wait "${!pid}" || status=$?
}

# says NAME REGEX: wait until the output of a background command has such a line
says() {
	wait_for "${LIMIT:-$A3S_LIMIT}" grep -qE "$2|^not ok|Error" "$A3S_T/$1" && grep -E "$2" "$A3S_T/$1" && return 0
	fail_with "$1 said: $(tail -n 20 "$A3S_T/$1")"
}

vsock_pid() {
	jq -r .vsock_pid "$A3S_HOME"/boxes/*/state.json | grep -v '^0$'
}

# fds of the vsock process
host_fds() {
	find "/proc/$(vsock_pid)/fd" -mindepth 1 | wc -l
}

# KiB that are the vsock process's own
host_memory() {
	sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$(vsock_pid)/status"
}

# objects KIND: sockets of that kind in the guest
objects() {
	boxed load.py objects | sed -n "s/^$1 //p"
}

host_fds_are() {
	[ "$(host_fds)" -le "$1" ]
}

# Free objects stay at a CPU's hand: what counts is that there is not one for each connection.
objects_are() {
	[ "$(objects "$1")" -le "$2" ]
}

# fitting COUNT SHARES: as many as this machine's limit of open files has room for, in so many shares
fitting() {
	local room=$((($(ulimit -n) - 500) / $2))
	[ "$1" -le "$room" ] || echo "# $1 do not fit into the limit of open files: $room" >&3
	echo $(($1 < room ? $1 : room))
}

# many COUNT: so many out and so many in, open at the same time
many() {
	background out timeout "$LIMIT" a3s-box exec -i load python3 /probe/load.py hold "$BED_OUTSIDE4" 7 "$1"
	background in outside load.py hold "$BED_INSIDE4" 7000 "$1"
	says out "^holding $1"
	says in "^holding $1"
	[ "$(host_fds)" -ge $((2 * $1)) ] || fail_with "$(host_fds) fds for 2 x $1 connections"
	echo "T20 $1 out and in: $(host_fds) fds, $(host_memory) KiB"
	end_input out
	end_input in
	says out "^good $1"
	says in "^good $1"
	ended out
	ended in
}

@test "T20: many connections out and in at once; afterwards fds, memory and sockets are as before, on both sides" {
	local count fds memory vsock tcp
	count=$(fitting "$(scaled 10000)" 2)
	LIMIT=600
	background server a3s-box exec load python3 /probe/load.py echo 0.0.0.0 7000
	says server listening
	fds=$(host_fds)
	many "$count" # the first time, to have what is kept on purpose
	wait_for 60 host_fds_are "$fds"
	memory=$(host_memory) vsock=$(objects AF_VSOCK) tcp=$(objects TCP)
	many "$count"
	wait_for 60 host_fds_are "$fds"
	wait_for 90 objects_are AF_VSOCK $((vsock + 150))
	wait_for 90 objects_are TCP $((tcp + 150))
	[ "$(host_memory)" -le $((memory + 1024)) ] || fail_with "the vsock process grew from $memory to $(host_memory) KiB"
	kill_in load echo
	ended server
}

@test "T20: short connections in sequence; afterwards fds, memory and sockets are as before" {
	local count fds memory vsock
	count=$(scaled 100000)
	LIMIT=2400
	# shellcheck disable=SC2086 # words
	try 0 boxed load.py sequence 200 $HOSTS
	fds=$(host_fds) memory=$(host_memory) vsock=$(objects AF_VSOCK)
	# shellcheck disable=SC2086
	try 0 boxed load.py sequence "$count" $HOSTS
	same "$out" "good $count"
	wait_for 60 host_fds_are "$fds"
	wait_for 90 objects_are AF_VSOCK $((vsock + 150))
	[ "$(host_memory)" -le $((memory + 1024)) ] || fail_with "the vsock process grew from $memory to $(host_memory) KiB"
	# and in: from outside, to the published port
	try 0 outside load.py sequence "$((count / 4))" "$BED_INSIDE4" fd77::1
	same "$out" "good $((count / 4))"
	wait_for 60 host_fds_are "$fds"
}

# among_busy COMMAND...: connections that stop reading, among busy ones
among_busy() {
	local before during
	LIMIT=600
	before=$(host_memory)
	background busy "$@" "$(scaled 1000)" "$(scaled 60 4)"
	says busy "^stalled"
	during=$(host_memory)
	says busy "^good"
	cat "$A3S_T/busy"
	ended busy
	same "$status" 0
	echo "the vsock process: $before KiB before, $during KiB while they are stalled"
	[ "$during" -le $((before + 16384)) ] || fail_with "the vsock process grew from $before to $during KiB"
}

@test "T08: readers that stop, in the box and outside, hold up no other connection, and lose no byte" {
	among_busy timeout 600 a3s-box exec load python3 /probe/load.py busy "$BED_OUTSIDE4"
}

@test "P09: the same from outside to published ports" {
	among_busy outside load.py busy "$BED_INSIDE4"
}

@test "P09: published ports: half-closes, resets, and bytes both ways" {
	local bytes port
	bytes=$(scaled $((1 << 30)))
	LIMIT=900
	try 0 outside net.py close "$BED_INSIDE4"
	port=$(sed -n 's/^port //p' <<<"$out")
	wait_for 10 grep -q "^hello $port then 5000 bytes" "$A3S_T/inside.log"
	port=$(sed -n 's/^aborted //p' <<<"$out")
	wait_for 10 grep -q "^hold $port reset" "$A3S_T/inside.log"
	port=$(sed -n 's/^closed //p' <<<"$out")
	wait_for 10 grep -q "^hold $port eof" "$A3S_T/inside.log"
	try 0 outside net.py close fd77::1
	try 0 outside net.py send "$BED_INSIDE4" "$bytes"
	try 0 outside net.py receive "$BED_INSIDE4" "$bytes"
	try 0 outside net.py send fd77::1 "$((bytes / 4))"
	try 0 outside net.py receive fd77::1 "$((bytes / 4))"
}

@test "T11: dup, fork, exec, SCM_RIGHTS, and threads that share one connection" {
	local port
	try 0 native share.py "$BED_OUTSIDE4"
	try 0 boxed share.py "$BED_OUTSIDE4"
	port=$(sed -n 's/^unclaimed //p' <<<"$out")
	bed_saw 10 "^hold $port eof"
	try 0 boxed share.py "$BED_OUTSIDE6"
}

# answers PORT WORD: what a server says that is published there
answers() {
	[ "$(in_outside socat -u "TCP4:$BED_INSIDE4:$1" - 2>&1)" = "$2" ]
}

is_another_vsock() {
	local now
	now=$(vsock_pid) && [ "$now" != "$1" ]
}

@test "R02: a3s-box-vsock is killed: replaced in the running box, connections and exec reset, processes live" {
	local killed main boot held='import socket, sys, time
s = socket.create_connection((sys.argv[1], 83))
print("held", flush=True)
try:
    print("ended", s.recv(1), flush=True)
except OSError as e:
    print("ended", e.strerror, flush=True)
l = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
print("served", flush=True)
while True:
    c, peer = l.accept()
    print("client", peer, flush=True)
    c.sendall(peer[0].encode())
    c.close()'
	clean_boxes
	in_product a3s-box run -d --name hit -p 7000:7000 python3 python3 -c "$held" "$BED_OUTSIDE4" >/dev/null 3>&-
	log_line hit '^held'
	main=$(a3s-box exec hit cat /proc/1/stat)
	boot=$(a3s-box exec hit cat /proc/sys/kernel/random/boot_id)
	background channel a3s-box exec hit sh -c 'echo started; sleep 1000'
	says channel started
	killed=$(vsock_pid)
	kill -9 "$killed"
	ended channel
	[ "$status" != 0 ] || fail_with "the exec ended as if all were well"
	wait_for 20 is_another_vsock "$killed"
	log_line hit '^ended Connection reset by peer'
	log_line hit '^served'
	# a client may be reset until the module and the new process know each other
	wait_for 20 answers 7000 ::ffff:10.77.0.2
	try 0 in_outside socat -u "TCP6:[fd77::1]:7000" -
	same "$out" fd77::2
	try 0 a3s-box exec hit python3 /probe/net.py send "$BED_OUTSIDE4" 1000000
	try 0 a3s-box exec hit python3 /probe/net.py names v4.test
	same "$out" "v4.test 198.51.100.7"
	same "$(a3s-box exec hit cat /proc/sys/kernel/random/boot_id)" "$boot"
	same "$(a3s-box exec hit cut -d ' ' -f 1-2,22 /proc/1/stat)" "$(cut -d ' ' -f 1-2,22 <<<"$main")"
	is_state hit running
	try 0 a3s-box stop -t 1 hit
	try 0 a3s-box rm hit
}
