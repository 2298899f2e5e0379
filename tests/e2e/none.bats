#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Mode none: nothing leaves (S06).

load ../lib/common
load ../lib/bed

setup_file() {
	need_network
	file_begin
	bed_up
	in_product a3s-box run -d --name alone --network none python3 python3 /probe/net.py idle >/dev/null 3>&-
}

teardown_file() {
	bed_down
	file_end
}

teardown() {
	clean_boxes alone
}

# bats test_tags=user
@test "S06: only lo, and no socket of any kind gets out" {
	try 0 a3s-box exec alone ls /sys/class/net
	same "$out" lo
	local before
	before=$(wc -l <"$BED_LOG")
	try 0 a3s-box exec alone python3 /probe/net.py nothing_leaves "$BED_OUTSIDE4" "$BED_OUTSIDE6"
	unlike "$out" "not ok"
	same "$(wc -l <"$BED_LOG")" "$before"
}

@test "S06: loopback works; names do not; exec and logs do" {
	try 0 a3s-box exec alone python3 /probe/net.py loopback
	try 0 a3s-box exec alone python3 /probe/net.py names v4.test
	unlike "$out" "198.51"
	log_line alone idle
}

@test "S06: -p with --network none" {
	try any in_product a3s-box run -d --name useless --network none -p 7300:80 busybox sleep 1000
	if [ "$status" = 0 ]; then
		port_free 7300 in_product
		a3s-box rm -f useless
	else
		same "$status" 125
		complains "none"
	fi
}
