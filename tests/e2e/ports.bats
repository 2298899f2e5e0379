#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Published ports in mode TSI (T15 T16 T17 T18 T19 T21, P03-P08 P10 P11).

load ../lib/common
load ../lib/bed

setup_file() {
	need_network
	file_begin
	bed_up
	in_product a3s-box run -d --name server -p 7000:7000 -p "$BED_INSIDE4:7001:7001" -p '[::]:7002:7002' -p 7010-7012:7010-7012 -p 7003 \
		-p 127.0.0.1:7004:7004 -p 7020-7022:7020-7022/udp -p 7023/udp -p "$BED_INSIDE4:7024:7020/udp" python3 python3 /probe/net.py idle >/dev/null 3>&-
}

teardown_file() {
	bed_down
	file_end
}

# serve NAME MODE ADDRESS PORT: a server in the box, until stop_servers; its output is in $A3S_T/NAME
serve() {
	rm -f "$A3S_T/$1"
	a3s-box exec server python3 /probe/net.py serve "$2" "$3" "$4" >"$A3S_T/$1" 2>&1 </dev/null 3>&- &
	wait_for "$A3S_LIMIT" grep -q listening "$A3S_T/$1" || { cat "$A3S_T/$1"; return 1; }
}

stop_servers() {
	kill_in server serve
	wait
}

teardown() {
	clean_boxes server
	kill_in server echo
	stop_servers
}

outside() {
	in_outside python3 "$A3S_TESTS/guest-programs/net.py" "$@"
}

native() {
	in_product python3 "$A3S_TESTS/guest-programs/net.py" "$@"
}

# bats test_tags=user
@test "T15: listener on 0.0.0.0, ::, 127.0.0.1 and ::1: reachable, and sees the client's address and port" {
	local address
	for address in 0.0.0.0 :: 127.0.0.1; do
		serve any blocking "$address" 7000
		try 0 outside tell "$BED_INSIDE4" 7000 "hello $address"
		like "$out" "^cloexec (::ffff:)?10\.77\.0\.2 [0-9]+ .*"$'\n'"hello $address"
		[ "$address" = 127.0.0.1 ] || {
			try 0 native tell 127.0.0.1 7000
			like "$out" "^cloexec (::ffff:)?127\.0\.0\.1 "
		}
		stop_servers
	done
	serve any blocking :: 7000
	try 0 outside tell fd77::1 7000 six
	like "$out" "^cloexec fd77::2 [0-9]+ .*"$'\n'"six"
}

@test "T15: one host address, [::] alone, a range, an ephemeral port" {
	serve one blocking 0.0.0.0 7001
	try 0 outside tell "$BED_INSIDE4" 7001
	like "$out" "^cloexec 10\.77\.0\.2 "
	try 0 native try 127.0.0.1/7001
	same "$out" "127.0.0.1/7001 ECONNREFUSED"
	serve two blocking :: 7002
	try 0 outside tell fd77::1 7002
	like "$out" "^cloexec fd77::2 "
	serve three blocking 0.0.0.0 7012
	try 0 outside tell "$BED_INSIDE4" 7012
	like "$out" "^cloexec 10\.77\.0\.2 "
	serve four blocking 0.0.0.0 7003
	local port
	try 0 in_product a3s-box port server 7003
	port=$(sed -n 's/^0\.0\.0\.0://p' <<<"$out")
	like "$out" "\[::\]:$port"
	try 0 outside tell "$BED_INSIDE4" "$port"
	like "$out" "^cloexec 10\.77\.0\.2 "
	serve five blocking 0.0.0.0 7004
	try 0 native tell 127.0.0.1 7004
	like "$out" "^cloexec 127\.0\.0\.1 "
	try 0 outside try "$BED_INSIDE4/7004"
	same "$out" "$BED_INSIDE4/7004 ECONNREFUSED"
}

@test "T15: the client's port is the one that the client has" {
	serve any blocking 0.0.0.0 7000
	try 0 in_outside python3 -c "
import socket
s = socket.create_connection(('$BED_INSIDE4', 7000), 20)
line = s.makefile().readline().split()
print(line[2] == str(s.getsockname()[1]), line)"
	like "$out" "^True"
}

# bats test_tags=user
@test "T16: a listener that is not published is on no address of the host" {
	serve hidden blocking 0.0.0.0 9100
	try 0 outside try "$BED_INSIDE4/9100" fd77::1/9100
	same "$out" $'10.77.0.1/9100 ECONNREFUSED\nfd77::1/9100 ECONNREFUSED'
	try 0 native try 127.0.0.1/9100
	same "$out" "127.0.0.1/9100 ECONNREFUSED"
	in_product a3s-box run -d --name other python3 python3 /probe/net.py serve blocking 0.0.0.0 9100 >/dev/null 3>&-
	log_line other 'listening 9100'
	try 0 a3s-box exec other python3 /probe/net.py tell 127.0.0.1 9100
	try 0 a3s-box exec server python3 /probe/net.py tell 127.0.0.1 9100
	try 0 a3s-box rm -f other
}

@test "T17: nobody listens yet: refused or reset at once; then it works; and again after a restart of the server" {
	try 0 outside try "$BED_INSIDE4/7010"
	like "$out" "ECONNREFUSED|ECONNRESET|open"
	try any in_outside timeout 10 python3 -c "
import socket
s = socket.create_connection(('$BED_INSIDE4', 7010), 20)
print(s.recv(1))"
	like "$out$err" "b''|refused|reset"
	local round
	for round in 1 2; do
		serve "late$round" blocking 0.0.0.0 7010
		try 0 outside tell "$BED_INSIDE4" 7010 "round $round"
		like "$out" "round $round"
		stop_servers
	done
}

@test "T18: blocking, non-blocking, poll, epoll, select, pre-forked: published and loopback clients mixed" {
	local mode i
	for mode in blocking nonblocking poll epoll select prefork; do
		serve "$mode" "$mode" 0.0.0.0 7011
		for i in 1 2; do
			try 0 outside tell "$BED_INSIDE4" 7011 "$mode $i"
			like "$out" "^cloexec 10\.77\.0\.2 [0-9]+ .*"$'\n'"$mode $i"
			try 0 a3s-box exec server python3 /probe/net.py tell 127.0.0.1 7011 "inside $i"
			like "$out" "^cloexec 127\.0\.0\.1 [0-9]+ 127\.0\.0\.1 7011 .*"$'\n'"inside $i"
		done
		stop_servers
	done
	try 0 a3s-box exec server python3 /probe/net.py restart 7011
}

# echo_in NAME ADDRESS PORT: a UDP server in the box, until stop_servers
echo_in() {
	rm -f "$A3S_T/$1"
	a3s-box exec server python3 /probe/net.py echo "$2" "$3" "${@:4}" >"$A3S_T/$1" 2>&1 </dev/null 3>&- &
	echoes+=("$!")
	wait_for "$A3S_LIMIT" grep -q listening "$A3S_T/$1" || { cat "$A3S_T/$1"; return 1; }
}

stop_echoes() {
	kill_in server echo
	wait "${echoes[@]}" || true
	echoes=()
}

# bats test_tags=user
@test "T19 P02 P06: published UDP echo, 100 clients, v4 and v6, remote and local: right answers, true addresses" {
	local address
	for address in 0.0.0.0 :: 127.0.0.1; do
		echo_in udp "$address" 7020
		try 0 outside ask "$BED_INSIDE4" 7020 100 one two
		like "$out" "seen (::ffff:)?10\.77\.0\.2$"
		unlike "$out" "not ok"
		try 0 native ask 127.0.0.1 7020 10
		like "$out" "seen (::ffff:)?127\.0\.0\.1$"
		try 0 native ask "$BED_INSIDE4" 7020 10
		like "$out" "seen (::ffff:)?10\.77\.0\.1$"
		# one host address, translated
		try 0 outside ask "$BED_INSIDE4" 7024 10
		stop_echoes
	done
	echo_in six :: 7021
	try 0 outside ask fd77::1 7021 10
	like "$out" "seen fd77::2$"
	try 0 native ask ::1 7021 10
	like "$out" "seen ::1$"
	stop_echoes
	echo_in reuse1 0.0.0.0 7022 reuse
	echo_in reuse2 0.0.0.0 7022 reuse
	try 0 outside ask "$BED_INSIDE4" 7022 20 a b c
	stop_echoes
}

@test "T12 T16 T19: UDP inside goes on beside; what is not published is on no address of the host; nobody there: silence" {
	echo_in udp 0.0.0.0 7020
	try 0 native ask 127.0.0.1 7020 20
	try 0 a3s-box exec server python3 /probe/net.py ask 127.0.0.1 7020 20
	like "$out" "seen 127\.0\.0\.1$"
	echo_in hidden 0.0.0.0 9200
	try 0 a3s-box exec server python3 /probe/net.py ask 127.0.0.1 9200 1
	try 0 outside mute "$BED_INSIDE4" 9200
	same "$out" ECONNREFUSED
	try 0 in_product ss -Huln "sport = :9200"
	same "$out" ""
	stop_echoes
	try 0 outside mute "$BED_INSIDE4" 7021
	same "$out" silence
}

@test "R02 T19: a vsock process that is killed is replaced: published UDP goes on, without the server's doing" {
	try 0 in_product a3s-box run -d --name lasting -p 7025:53/udp python3 python3 /probe/net.py echo 0.0.0.0 53
	log_line lasting 'listening 53'
	try 0 outside ask "$BED_INSIDE4" 7025 3 before
	local monitor
	monitor=$(jq .monitor_pid "$A3S_HOME/boxes/$(a3s-box ps -q --no-trunc --filter name=lasting)/state.json")
	pkill -KILL -P "$monitor" -x a3s-box-vsock
	try 0 outside ask "$BED_INSIDE4" 7025 3 after
	try 0 a3s-box rm -f lasting
}

@test "T21 P08: the box reaches its own and another box's published port through the host's address, TCP and UDP" {
	serve own blocking 0.0.0.0 7000
	echo_in udp 0.0.0.0 7020
	in_product a3s-box run -d --name neighbour python3 python3 /probe/net.py idle >/dev/null 3>&-
	local box
	for box in server neighbour; do
		try 0 a3s-box exec "$box" python3 /probe/net.py tell "$BED_INSIDE4" 7000 hello
		like "$out" "^cloexec 10\.77\.0\.1 [0-9]+ .*"$'\n'"hello"
		try 0 a3s-box exec "$box" python3 /probe/net.py ask "$BED_INSIDE4" 7020 5
		like "$out" "seen 10\.77\.0\.1$"
	done
	stop_echoes
	try 0 a3s-box rm -f neighbour
}

@test "P04: a port of the host's choice: one number for v4 and v6, TCP and UDP each, kept over a restart" {
	local first
	try 0 in_product a3s-box run -d --name any -p 80 -p 53/udp busybox sleep 1000
	try 0 a3s-box port any
	first=$out
	same "$(wc -l <<<"$out")" 4
	same "$(sed -n 's/^80\/tcp .*://p' <<<"$out" | sort -u | wc -l)" 1
	same "$(sed -n 's/^53\/udp .*://p' <<<"$out" | sort -u | wc -l)" 1
	try 0 in_product a3s-box restart -t 0 any
	try 0 a3s-box port any
	same "$out" "$first"
	try 0 a3s-box rm -f any
}

ten_thousand() {
	ulimit -n "$1"
	in_product a3s-box run -d --name many -p 20000-29999:20000-29999 busybox sh -c 'echo many >index; exec httpd -f -p 29999'
}

@test "P05: ten thousand ports; or one line that names the limit that is in the way" {
	local files monitor vsock plain many
	files=$(ulimit -Hn)
	try any ten_thousand "$files"
	if [ "$files" = unlimited ] || [ "$files" -ge 11000 ]; then
		same "$status" 0
		wait_for 20 in_product curl -sf "http://127.0.0.1:29999/index"
		try 0 in_outside curl -sg "http://[fd77::1]:29999/index"
		same "$out" many
		try 0 a3s-box ps --filter name=many --format '{{.Ports}}'
		same "$out" "0.0.0.0:20000-29999->20000-29999/tcp, [::]:20000-29999->20000-29999/tcp"
		monitor=$(jq .monitor_pid "$A3S_HOME/boxes/$(a3s-box ps -q --no-trunc --filter name=many)/state.json")
		vsock=$(pgrep -P "$monitor" -x a3s-box-vsock)
		many=$(cat "/proc/$monitor/smaps_rollup" "/proc/$vsock/smaps_rollup" | awk '/^Pss:/ { n += $2 } END { print n }')
		echo "monitor and vsock process: $many KiB"
		[ "$many" -lt 32768 ]
		try 0 a3s-box rm -f many
	fi
	try any ten_thousand 1024
	# root may raise it by itself
	[ "$status" = 0 ] || complains "too many ports for the limit of open files, 1024"
	try any a3s-box rm -f many
}

@test "P07: restart within 2 MSL of connections that the server closed first" {
	try 0 in_product a3s-box run -d --name closer -p 7104:80 busybox httpd -f -p 80 -h /etc
	wait_for 20 in_outside curl -sf "http://$BED_INSIDE4:7104/hostname"
	try 0 in_product a3s-box restart -t 0 closer
	wait_for 20 in_outside curl -sf "http://$BED_INSIDE4:7104/hostname"
	try 0 a3s-box rm -f closer
}

@test "P11: -P publishes what is exposed and not published otherwise; --expose adds" {
	try 0 in_product a3s-box run -d --name wide -P --expose 8080 --expose 9000-9001/udp --expose 80 -p 7105:80 busybox sleep 1000
	try 0 a3s-box port wide
	same "$(grep -c . <<<"$out")" 8
	like "$out" "80/tcp -> 0\.0\.0\.0:7105"
	like "$out" "8080/tcp -> \[::\]:[0-9]+"
	like "$out" "9001/udp -> 0\.0\.0\.0:[0-9]+"
	try 0 a3s-box inspect --format '{{json .Config.ExposedPorts}}' wide
	same "$(jq -cS . <<<"$out")" '{"80/tcp":{},"8080/tcp":{},"9000/udp":{},"9001/udp":{}}'
	try 0 a3s-box rm -f wide
	try 0 in_product a3s-box create --name quiet --expose 80 busybox true
	try 0 a3s-box port quiet
	same "$out" ""
	try 125 a3s-box create --expose 80:80 busybox true
	complains "--expose.*80:80"
}

@test "limits: a box that opens too much gets EMFILE, and only it" {
	try 125 a3s-box create --net-limit connections=x busybox true
	complains "--net-limit.*connections"
	try 0 in_product a3s-box run -d --name small --net-limit connections=100 --net-limit datagrams=20 python3 python3 /probe/net.py idle
	try 0 a3s-box exec small python3 /probe/net.py hoard "$BED_OUTSIDE4" 7 200
	like "$out" "stream [0-9]+ EMFILE"
	like "$out" "datagram (19|20) EMFILE"
	try 0 a3s-box exec server python3 /probe/net.py hoard "$BED_OUTSIDE4" 7 200
	same "$out" $'stream 199 0\ndatagram 199 0'
	try 0 a3s-box exec small python3 /probe/net.py hoard "$BED_OUTSIDE4" 7 10
	same "$out" $'stream 9 0\ndatagram 9 0'
	try 0 a3s-box rm -f small
}

@test "stats: docker's columns, and what was counted for each box" {
	serve any blocking 0.0.0.0 7000
	try 0 outside tell "$BED_INSIDE4" 7000 "$(printf 'x%.0s' {1..5000})"
	try 0 a3s-box create --name still busybox true
	try 0 a3s-box stats --no-stream -a
	like "$out" "^CONTAINER ID +NAME +CPU % +MEM USAGE / LIMIT +MEM % +NET I/O +BLOCK I/O +PIDS"
	like "$out" "[0-9a-f]{12} +server +[0-9.]+% +[0-9.]+MiB / [0-9.]+MiB +[0-9.]+% +[0-9.]+kB / [0-9.]+kB +[0-9.]+MB / [0-9.]+[kM]?B +[1-9]"
	like "$out" "still +0\.00% +0B / 0B +0\.00% +0B / 0B +0B / 0B +0"
	try 0 a3s-box stats --no-stream --no-trunc --format json server
	[ "$(jq -r .BytesIn <<<"$out")" -gt 5000 ] && [ "$(jq -r .BytesOut <<<"$out")" -gt 5000 ]
	[ "$(jq -r .ConnectionsTotal <<<"$out")" -ge 1 ]
	same "$(jq -r '.ID | length' <<<"$out")" 64
	try 0 a3s-box stats --no-stream --format '{{.Name}} {{.PIDs}}' still
	same "$out" "still 0"
	try 1 a3s-box stats --no-stream nosuch
	complains nosuch
	try 0 a3s-box inspect --format '{{.HostConfig.NetworkMode}} {{json (index .NetworkSettings.Ports "7022/udp")}}' server
	same "$out" 'tsi [{"HostIp":"0.0.0.0","HostPort":"7022"},{"HostIp":"::","HostPort":"7022"}]'
	try 124 timeout 4 a3s-box stats server
	[ "$(grep -c '^CONTAINER' <<<"$out")" -ge 2 ]
	try 0 a3s-box rm still
	stop_servers
}

@test "P03: a UDP port that is taken" {
	try 125 in_product a3s-box run -d --name late -p 7020:80/udp busybox true
	complains "7020.*server"
	# shellcheck disable=SC2086
	$BED_ENTER_PRODUCT socat UDP-LISTEN:7102 OPEN:/dev/null 3>&- &
	local holder=$!
	wait_for 10 in_product sh -c 'ss -Huln | grep -q :7102'
	try 125 in_product a3s-box run -d --name late -p 7102:80/udp busybox true
	complains "7102/udp.*socat"
	kill "$holder"
	wait "$holder" || true
	try 0 in_product a3s-box run --rm -p 7102:80/udp busybox true
}

# bats test_tags=user
@test "P03: a port that is taken: 125 before anything starts, the holder named; works once freed" {
	try 125 in_product a3s-box run -d --name late -p 7000:80 busybox true
	complains "7000.*server"
	try 1 a3s-box inspect late
	# shellcheck disable=SC2086 # a command line, whose last program has the pid
	$BED_ENTER_PRODUCT socat TCP-LISTEN:7100,fork OPEN:/dev/null 3>&- &
	local holder=$!
	wait_for 10 in_product sh -c 'ss -Htln | grep -q :7100'
	try 125 in_product a3s-box run -d --name late -p 7100:80 busybox true
	complains "7100"
	try 0 a3s-box ps -a --format '{{.Names}}'
	same "$out" server
	kill "$holder"
	wait "$holder" || true
	wait_for 10 port_free 7100 in_product
	try 0 in_product a3s-box run --rm -p 7100:80 busybox true
	try 125 in_product a3s-box run --rm -p 7100:80 -p 7100:81 busybox true
	complains 7100
}

@test "P03: the port is held over the whole life, and is free afterwards" {
	try 0 in_product a3s-box run -d --name short -p 7101:80 busybox sleep 1000
	try 125 in_product a3s-box run --rm -p 7101:80 busybox true
	try 0 in_product a3s-box stop -t 0 short
	port_free 7101 in_product
	try 0 in_product a3s-box run --rm -p 7101:80 busybox true
	try 0 in_product a3s-box rm short
}

# bats test_tags=user
@test "P10: port and the PORTS cell of ps, in docker's forms" {
	try 0 a3s-box port server
	like "$out" "7000/tcp -> 0\.0\.0\.0:7000"
	like "$out" "7000/tcp -> \[::\]:7000"
	like "$out" "7001/tcp -> 10\.77\.0\.1:7001"
	like "$out" "7002/tcp -> \[::\]:7002"
	try 0 a3s-box port server 7000
	same "$out" $'0.0.0.0:7000\n[::]:7000'
	try 0 a3s-box port server 7001/tcp
	same "$out" 10.77.0.1:7001
	try 0 a3s-box port server 7020/udp
	same "$out" $'0.0.0.0:7020\n10.77.0.1:7024\n[::]:7020'
	try 1 a3s-box port server 7000/udp
	complains "7000/udp"
	try 1 a3s-box port server 1
	complains "server"
	try 0 a3s-box ps --format '{{.Ports}}'
	like "$out" "0\.0\.0\.0:7010-7012->7010-7012/tcp"
	like "$out" "10\.77\.0\.1:7001->7001/tcp"
	try 0 a3s-box create --name quiet busybox true
	try 0 a3s-box port quiet
	same "$out" ""
	try 0 a3s-box create --name stopped -p 7200:80 busybox true
	try any a3s-box port stopped
	try 0 a3s-box rm quiet stopped
	try 1 a3s-box port nosuch
	complains nosuch
}

@test "P01: what is not a port is refused with the reason" {
	local spec
	for spec in x 0 70000 80:x 1.2.3:80:80 80:80/sctp 9090-9089:9090-9089 80-82:80-81 -9090:80 a:80 1:2:3:4; do
		try 125 a3s-box create -p "$spec" busybox true
		[ "$(wc -l <<<"$err")" = 1 ]
	done
	try 0 a3s-box ps -aq
	same "$(wc -l <<<"$out")" 1
}
