#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the command line at any point of run, and of the monitor: nothing is left, the next command is right (R01, R06).

load ../lib/common

setup_file() {
	file_begin
	export PORT
	PORT=$(free_port)
}

teardown() {
	clean_boxes
}

teardown_file() {
	file_end
}

# Either the box is there and runs, or nothing of it is.
settled() {
	local name=$1
	if a3s-box inspect "$name" >/dev/null 2>&1; then
		is_state "$name" running && ! port_free "$PORT"
	else
		port_free "$PORT" && [ -z "$(leftover_pids)" ]
	fi
}

@test "R06: the command line is killed at random points of run -d" {
	local rounds i delay pid
	rounds=$(scaled 100 8)
	for ((i = 0; i < rounds; i++)); do
		delay=$(awk -v r=$RANDOM -v i="$i" -v n="$rounds" 'BEGIN { printf "%.3f", 4 * (i + r / 32768) / n }')
		a3s-box run -d --name "victim$i" -p "$PORT:80" busybox sleep 1000 >"$A3S_T/out" 2>&1 </dev/null 3>&- &
		pid=$!
		read -rt "$delay" <>"$A3S_NEVER" || true
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" || true
		echo "round $i: killed after $delay s"
		wait_for 30 settled "victim$i" || { a3s-box ps -a; leftovers; return 1; }
		a3s-box rm -f "victim$i" >/dev/null 2>&1 || true
		wait_for 30 port_free "$PORT"
	done
	try 0 a3s-box run --rm -p "$PORT:80" busybox echo right
	same "$out" right
	try 0 a3s-box ps -aq
	same "$out" ""
	[ -z "$(leftover_pids)" ]
	same "$(find "$A3S_HOME/boxes" -mindepth 1 -maxdepth 1)" ""
}

@test "R06: killed during create and rm" {
	local i pid
	for i in 1 2 3 4 5 6 7 8; do
		a3s-box create --name "half$i" busybox true >/dev/null 2>&1 3>&- &
		pid=$!
		read -rt "0.0$((i * 4))" <>"$A3S_NEVER" || true
		kill -9 "$pid" 2>/dev/null || true
		wait "$pid" || true
		try any a3s-box rm "half$i"
		try 0 a3s-box create --name "half$i" busybox true
		try 0 a3s-box rm "half$i"
	done
	try 0 a3s-box ps -aq
	same "$out" ""
}

# bats test_tags=user
@test "R01: the monitor is killed: the box reads as dead at once, everything of it goes, start works again" {
	local monitor
	try 0 a3s-box run -d --name orphan -p "$PORT:80" busybox sleep 1000
	monitor=$(monitor_of orphan)
	kill -9 "$monitor"
	wait_for 10 box_is_not_running orphan
	wait_for 10 no_processes
	port_free "$PORT"
	try 0 a3s-box start orphan
	try 0 a3s-box exec orphan echo alive
	same "$out" alive
	try 0 a3s-box rm -f orphan
}

monitor_of() {
	local pid
	for pid in $(leftover_pids); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == *a3s-box-monitor* ]] && [ "$(awk '{ print $4 }' "/proc/$pid/stat")" ] && echo "$pid" && return 0
	done
	return 1
}

box_is_not_running() {
	! is_state "$1" running
}

no_processes() {
	[ -z "$(leftover_pids)" ]
}

@test "R05: the virtual machine is killed: the end is recorded" {
	try 0 a3s-box run -d --name crashed busybox sleep 1000
	local pid
	for pid in $(leftover_pids); do
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != *qemu-system* ]] || kill -9 "$pid"
	done
	wait_for 10 box_is_not_running crashed
	try 0 a3s-box inspect --format '{{.State.Status}}' crashed
	like "$out" "exited|dead"
	wait_for 10 no_processes
	try 0 a3s-box rm crashed
}
