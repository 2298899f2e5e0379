#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The test bed itself: what the other files take for granted about it.
# bats file_tags=user

load ../lib/common
load ../lib/bed

setup_file() {
	file_begin empty
	need_network
	bed_up
}

teardown_file() {
	bed_down
	file_end
}

@test "bed: the outside answers over v4 and v6 and sees the product's address" {
	try 0 in_product curl -sS --max-time 10 "http://$BED_OUTSIDE4/who"
	same "$out" 10.77.0.1
	try 0 in_product curl -sS --max-time 10 "http://[$BED_OUTSIDE6]/who"
	same "$out" fd77::1
}

@test "bed: names, swallowed packets, unreachable hosts and networks" {
	try 0 in_product getent ahostsv4 v4.test
	like "$out" "^198.51.100.7 "
	try 1 in_product socat -u OPEN:/dev/null TCP4:198.51.100.99:80
	like "$err" "No route to host"
	try 1 in_product socat -u OPEN:/dev/null TCP4:192.0.2.1:80
	like "$err" "Network is unreachable"
	try 1 in_product socat -u OPEN:/dev/null TCP4:198.51.100.66:80,connect-timeout=1
	like "$err" "timed out"
}

@test "bed: the product runs under the user's own id" {
	try 0 in_product id -u
	same "$out" "$(id -u)"
}

@test "bed: resolv.conf is replaced without touching this machine's" {
	local before
	before=$(cat /etc/resolv.conf)
	bed_resolv "nameserver 198.51.100.53"
	try 0 in_product cat /etc/resolv.conf
	same "$out" "nameserver 198.51.100.53"
	same "$(cat /etc/resolv.conf)" "$before"
	bed_resolv "nameserver 10.77.0.2"
}
