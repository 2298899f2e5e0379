#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The first command of the networking page, as a person types it: nginx from a registry, its port published, the true
# address of its client in its log, nothing but lo inside.

load ../lib/common
load ../lib/bed

setup_file() {
	file_begin empty
	cp -a "$A3S_SEED"/*.json "$A3S_HOME/" 2>/dev/null || true
	export PORT
	PORT=$(free_port)
}

teardown_file() {
	bed_down
	file_end
}

# bats test_tags=user
@test "run -d --name web -p 8080:80 REGISTRY/nginx, then curl" {
	try 0 a3s-box run -d --name web -p "$PORT:80" "$A3S_REGISTRY/nginx:latest"
	like "$out" '^[0-9a-f]{64}$'
	try 0 curl -sS --max-time 30 --retry 60 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$PORT/"
	like "$out" "Welcome to nginx"
	log_line web '^127\.0\.0\.1 .*"GET / HTTP/1.1" 200'
}

# bats test_tags=user
@test "T01: the guest has no interface but lo, and a kernel of its own" {
	try 0 a3s-box exec web ls /sys/class/net
	same "$out" lo
	try 0 a3s-box exec web uname -r
	like "$out" cloud-amd64
}

@test "ps, port and inspect show the published port" {
	try 0 a3s-box ps
	like "$out" "0\.0\.0\.0:$PORT->80/tcp"
	try 0 a3s-box port web
	like "$out" "80/tcp -> 0\.0\.0\.0:$PORT"
	try 0 a3s-box inspect web
	same "$(jq -r '.[0].NetworkSettings.Ports["80/tcp"][0].HostPort' <<<"$out")" "$PORT"
}

@test "stop frees the port; start takes it again; rm leaves nothing" {
	try 0 a3s-box stop web
	port_free "$PORT"
	try 0 a3s-box start web
	try 0 curl -sS --max-time 30 --retry 60 --retry-delay 1 --retry-all-errors -o /dev/null "http://127.0.0.1:$PORT/"
	try 0 a3s-box rm -f web
	port_free "$PORT"
}

@test "curl from another machine: nginx's log has that machine's address, v4 and v6" {
	need_network
	bed_up
	try 0 a3s-box tag "$A3S_REGISTRY/nginx:latest" nginx
	try 0 in_product a3s-box run -d --name web2 -p 8080:80 nginx
	try 0 in_outside curl -sS --max-time 30 --retry 60 --retry-delay 1 --retry-all-errors "http://$BED_INSIDE4:8080/"
	like "$out" "Welcome to nginx"
	log_line web2 '^10\.77\.0\.2 .*"GET / '
	try 0 in_outside curl -sS --max-time 30 -o /dev/null "http://[fd77::1]:8080/"
	log_line web2 'fd77::2 .*"GET / '
	try 0 a3s-box rm -f web2
}
