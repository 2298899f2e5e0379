#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A box's life: stop and kill, exec, logs, what is kept (C02, C03, C04, C08), listings.

load ../lib/common

setup_file() {
	file_begin
	a3s-box run -d --name main probe signals 3 15 >/dev/null 3>&-
}

teardown() {
	clean_boxes main
}

teardown_file() {
	file_end
}

# bats test_tags=user
@test "C02: stop sends the image's STOPSIGNAL, waits, and reports the exit code" {
	try 0 a3s-box run -d --name usr1 probe signals 9 10
	log_line usr1 waiting
	try 0 a3s-box stop usr1
	same "$out" usr1
	try 0 a3s-box wait usr1
	same "$out" 9
	like "$(a3s-box logs usr1)" "signal 10"
	try 0 a3s-box inspect --format '{{.State.Status}} {{.State.ExitCode}}' usr1
	same "$out" "exited 9"
	try 0 a3s-box rm usr1
}

@test "C02: what ignores the signal is killed after the time-out; --stop-signal, kill -s" {
	try 0 a3s-box run -d --name deaf --stop-signal TERM probe signals 0 12
	log_line deaf waiting
	try 0 a3s-box stop -t 1 deaf
	try 0 a3s-box wait deaf
	same "$out" 137
	try 0 a3s-box start deaf
	log_line deaf waiting
	try 0 a3s-box kill -s USR2 deaf
	try 0 a3s-box wait deaf
	same "$out" 0
	try 0 a3s-box rm deaf
}

@test "C02: of several who stop a box the least patient counts" {
	local started=$SECONDS first
	try 0 a3s-box run -d --name stubborn --stop-signal TERM probe sh -c 'trap "echo told" TERM; echo waiting; while :; do usleep 50000; done'
	log_line stubborn waiting
	timeout -k 5 "$A3S_LIMIT" a3s-box stop -t 3 stubborn >/dev/null 2>&1 3>&- &
	first=$!
	log_line stubborn told
	try 0 a3s-box stop -t 300 stubborn
	wait "$first"
	[ $((SECONDS - started)) -lt 100 ] || fail_with "the second stop put the first one off"
	try 0 a3s-box rm stubborn
}

# writer_waits FIFO_WRITER: it sleeps in a write because nobody reads
writer_waits() {
	grep -q pipe_write "/proc/$1/wchan"
}

@test "C02: stop and kill arrive at a box that does not read its full standard input" {
	mkfifo "$A3S_T/input"
	a3s-box run -i --name full --stop-signal TERM probe signals 3 15 <"$A3S_T/input" >/dev/null 2>&1 3>&- &
	local run=$! code=0
	yes >"$A3S_T/input" 2>/dev/null 3>&- &
	local writer=$!
	wait_for "$A3S_LIMIT" is_state full running # a box that does not run yet has no log to follow
	log_line full waiting
	wait_for "$A3S_LIMIT" writer_waits "$writer"
	try 0 a3s-box stop full
	wait "$run" || code=$?
	same "$code" 3
	wait "$writer" || true
	try 0 a3s-box rm full
}

@test "C02: --init passes signals on and reaps" {
	try 0 a3s-box run -d --init --name reaping probe sh -c '(true &) ; (sh -c "true" &); exec signals 5 15'
	log_line reaping waiting
	wait_for "$A3S_LIMIT" no_zombies reaping
	try 0 a3s-box kill -s TERM reaping
	try 0 a3s-box wait reaping
	same "$out" 5
	try 0 a3s-box rm reaping
}

no_zombies() {
	! a3s-box exec "$1" sh -c 'cat /proc/[0-9]*/stat' 2>/dev/null | grep -q ') Z '
}

# bats test_tags=user
@test "C03: exec: exit codes, environment, user, directory" {
	try 42 a3s-box exec main sh -c 'echo out; echo err >&2; exit 42'
	same "$out" out
	same "$err" err
	try 127 a3s-box exec main no-such-command
	try 126 a3s-box exec main /etc/passwd
	try 0 a3s-box exec -e X=1 -u 1000 -w /etc main sh -c 'echo $X $(id -u) $PWD $PROBE'
	same "$out" "1 1000 /etc yes"
	same "$err" ""
	try 143 a3s-box exec main sh -c 'kill -TERM $$'
	try 0 a3s-box exec main cat /proc/1/comm
	same "$out" signals
}

@test "C03: exec -t is a terminal, -i without it is a pipe" {
	try 6 "$A3S_TESTS/lib/terminal.py" 20x70 'expect:20 70' end -- a3s-box exec -it main sh -c 'stty size; exit 6'
	same "$(echo piped | a3s-box exec -i main sh -c 'cat; tty' 3>&-)" $'piped\nnot a tty'
}

@test "C03: exec is binary-clean through stdin and stdout" {
	local bytes sent back
	bytes=$(scaled $((1 << 30)))
	mkfifo "$A3S_T/copy"
	sha256sum <"$A3S_T/copy" >"$A3S_T/sent" 3>&- &
	back=$(openssl enc -aes-128-ctr -pass pass:x -nosalt -in /dev/zero 2>/dev/null | head -c "$bytes" | tee "$A3S_T/copy" |
		timeout 600 a3s-box exec -i main cat 3>&- | sha256sum)
	wait $!
	sent=$(cat "$A3S_T/sent")
	same "$back" "$sent"
}

@test "C03: many execs at once; one in a stopped box is refused" {
	local i pids=()
	for i in 1 2 3 4 5 6 7 8; do
		a3s-box exec main sh -c "echo $i; exit $i" >"$A3S_T/exec$i" 2>&1 </dev/null 3>&- &
		pids+=($!)
	done
	for i in 1 2 3 4 5 6 7 8; do
		status=0
		wait "${pids[$((i - 1))]}" || status=$?
		same "$status $(cat "$A3S_T/exec$i")" "$i $i"
	done
	try 0 a3s-box create --name never-started busybox true
	try 1 a3s-box exec never-started true
	complains "never-started"
	try 0 a3s-box rm never-started
}

@test "C04: logs: both streams, -f ends with the box, --tail, -t, --since" {
	try 0 a3s-box run -d --name talker busybox sh -c 'echo one; echo two >&2; usleep 1500000; echo three; usleep 300000; echo four'
	local followed
	followed=$(timeout "$A3S_LIMIT" a3s-box logs -f talker 2>"$A3S_T/err" 3>&-)
	same "$followed" $'one\nthree\nfour'
	same "$(cat "$A3S_T/err")" two
	try 0 a3s-box logs --tail 1 talker
	same "$out" four
	try 0 a3s-box logs --tail 0 talker
	same "$out" ""
	try 0 a3s-box logs -t --tail 2 talker
	like "$out" '^20[0-9-]+T[0-9:.]+Z three'
	local stamp
	stamp=$(sed -n '2s/ .*//p' <<<"$out")
	try 0 a3s-box logs --since "$stamp" talker
	same "$out" four
	try 0 a3s-box rm talker
}

@test "C04: a box that prints a lot: nothing lost below the limit, disk bounded above it" {
	local bytes lines
	bytes=$(scaled $((128 << 20)))
	lines=$((bytes / 64))
	try 0 a3s-box run -d --name chatty --log-opt max-size=64m --log-opt max-file=10 probe printer "$bytes"
	try 0 env A3S_LIMIT=600 timeout 600 a3s-box wait chatty
	same "$out" 0
	same "$(a3s-box logs chatty 2>/dev/null | awk '{ n += ($1 + 0 == NR - 1) } END { print NR, n }')" "$lines $lines"
	try 0 a3s-box rm chatty
	try 0 a3s-box run -d --name bounded --log-opt max-size=1m --log-opt max-file=3 probe printer $((16 << 20))
	local id=$out
	try 0 a3s-box wait bounded
	same "$out" 0
	[ "$(du -cb "$A3S_HOME/boxes/$id"/log.json* | awk 'END { print $1 }')" -le $((3 * 1024 * 1024 + 65536)) ]
	[ "$(find "$A3S_HOME/boxes/$id" -name 'log.json*' | wc -l)" = 3 ]
	same "$(a3s-box logs --tail 2 bounded 2>/dev/null)" "$(printf '%063d' $(((16 << 20) / 64 - 1)))"
	try 0 a3s-box rm bounded
}

@test "C04: a foreground run that nobody reads holds up the box, not the machine; the log has every byte" {
	mkfifo "$A3S_T/unread"
	exec {unread}<>"$A3S_T/unread"
	a3s-box run --name unread probe printer $((4 << 20)) >"$A3S_T/unread" 2>/dev/null </dev/null 3>&- {unread}>&- &
	local pid=$!
	wait_for "$A3S_LIMIT" is_state unread running
	kill -9 "$pid"
	wait "$pid" || true
	try 0 timeout 60 a3s-box wait unread
	same "$(a3s-box logs unread 2>/dev/null | wc -c)" $((4 << 20))
	exec {unread}>&-
	try 0 a3s-box rm -f unread
}

# bats test_tags=user
@test "C08: writes survive stop and start, are gone after rm, and no other box sees them" {
	try 0 a3s-box run --name first busybox sh -c 'echo kept >/root/file; rm /root/data; mkdir /etc/new; chmod 640 /root/file; chown 1000:50 /root/file; sync'
	try 0 a3s-box create --name second busybox sh -c 'cat /root/file; cat /root/data'
	try 0 a3s-box start -a second
	like "$err" "No such file"
	same "$out" "not a program"
	try 0 a3s-box start -a first
	try 0 a3s-box rm first second
	try 0 a3s-box run -d --name third --entrypoint sh busybox -c '[ -e /f ] || { echo 1 >/f; exec sleep 1000; }; cat /f'
	wait_for "$A3S_LIMIT" a3s-box exec third test -s /f
	try 0 a3s-box stop -t 0 third
	try 0 a3s-box start -a third
	like "$out" 1
	try 0 a3s-box restart -t 0 third
	try 0 a3s-box rm -f third
}

@test "ps, inspect, wait, restart: docker's columns and forms" {
	try 0 a3s-box ps
	like "$out" "^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES"
	like "$out" "probe +\"signals 3 15\" .* Up .* main"
	try 0 a3s-box ps -q --no-trunc
	like "$out" '^[0-9a-f]{64}$'
	try 0 a3s-box ps --format '{{.ID}} {{.Names}} {{.State}}'
	like "$out" '^[0-9a-f]{12} main running$'
	try 0 a3s-box ps --format json
	same "$(jq -r .Names <<<"$out")" main
	try 0 a3s-box ps -a --filter name=nothing -q
	same "$out" ""
	try 0 a3s-box inspect main
	same "$(jq -r '.[0].State.Running, (.[0].Name | ltrimstr("/")), (.[0].Config.Cmd | join(" "))' <<<"$out")" $'true\nmain\nsignals 3 15'
	try 1 a3s-box inspect main nosuch
	same "$(jq length <<<"$out")" 1
	like "$err" nosuch
	try "1|2" a3s-box rm main
	complains "main.*running"
}

@test "the main process is PID 1 of its own namespaces; the agent is not in sight" {
	try 0 a3s-box exec main sh -c 'ls -d /proc/[0-9]* | wc -l; cat /proc/1/comm'
	like "$out" $'\nsignals$'
	[ "$(sed -n 1p <<<"$out")" -le 5 ]
	try 0 a3s-box exec main uname -r
	unlike "$out" "^$(uname -r)$"
}
