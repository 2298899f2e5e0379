#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Programs that people use, as they use them: no error, no stall, and the counts come out (T26; T21 where a box talks to a
# published port of its own or of another box).

load ../lib/common
load ../lib/bed

setup_file() {
	need_network
	file_begin
	bed_up
	ulimit -n "$(ulimit -H -n)"
	export FILES=$A3S_T/files
	mkdir "$FILES"
	in_product a3s-box run -d --name web -p 8080:80 -p 8081:81 nginx >/dev/null 3>&- &
	in_product a3s-box run -d --name redis -p 6379:6379 redis >/dev/null 3>&- &
	in_product a3s-box run -d --name pg -p 5432:5432 postgres >/dev/null 3>&- &
	in_product a3s-box run -d --name tools -p 8000:8000 -p 5201:5201 tools >/dev/null 3>&- &
	# shellcheck disable=SC2086 # a command line, whose last program has the pid
	$BED_ENTER_OUTSIDE python3 -m http.server -d "$FILES" 8000 >"$A3S_T/files.log" 2>&1 </dev/null 3>&- {BED_ALIVE}>&- &
	export FILES_SERVER=$!
	wait_for "$A3S_LIMIT" in_outside curl -s -o /dev/null "http://$BED_OUTSIDE4:8000/"
	for box in web redis pg tools; do
		wait_for "$A3S_LIMIT" is_state "$box" running
	done
}

teardown_file() {
	kill "$FILES_SERVER"
	bed_down
	file_end
}

tools() {
	timeout -k 5 "${LIMIT:-$A3S_LIMIT}" a3s-box exec tools "$@"
}

# background NAME PROGRAM...: run it; its output is in $A3S_T/NAME, its process id in $pid
background() {
	local name=$1
	shift
	"$@" >"$A3S_T/$name" 2>&1 </dev/null 3>&- {BED_ALIVE}>&- &
	pid=$!
}

# load CONNECTIONS URL: wrk from the outside; every answer good, and at least one for each connection
load_with() {
	local requests
	try 0 in_outside wrk -t 2 -c "$1" -d "$(scaled 48 3)s" --timeout 30s "$2"
	unlike "$out" "Socket errors|Non-2xx"
	requests=$(sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' <<<"$out")
	[ "$requests" -ge "$1" ] || fail_with "$requests requests of $1 connections"
}

@test "T26: wrk -c 400 on a published nginx" {
	wait_for "$A3S_LIMIT" in_outside curl -s -o /dev/null "http://$BED_INSIDE4:8080/"
	load_with 400 "http://$BED_INSIDE4:8080/64.txt"
	load_with 100 "http://$BED_INSIDE4:8080/1m"
}

@test "T26: nginx as a reverse proxy to an upstream outside" {
	local i
	head -c "$(scaled $((256 << 20)))" /dev/urandom >"$FILES/large"
	a3s-box exec -i web sh -c 'cat >/etc/nginx/conf.d/proxy.conf && nginx -s reload' 3>&- <<-X
		server {
			listen 81;
			location / { proxy_pass http://$BED_OUTSIDE4:80; }
			location /large { proxy_pass http://$BED_OUTSIDE4:8000; proxy_max_temp_file_size 0; }
		}
	X
	wait_for "$A3S_LIMIT" in_outside curl -sf -o /dev/null "http://$BED_INSIDE4:8081/who"
	try 0 in_outside curl -sS "http://$BED_INSIDE4:8081/who"
	same "$out" "$BED_INSIDE4"
	load_with 50 "http://$BED_INSIDE4:8081/"
	for i in 1 2; do
		try 0 in_outside sh -c "curl -sS http://$BED_INSIDE4:8081/large | cmp - $FILES/large"
	done
}

@test "T26: redis-benchmark -c 50 -P 16 from one box to another's published port" {
	local count
	count=$(($(scaled 100000) / 800 * 800)) # whole pipelines of all connections
	try 0 tools redis-benchmark -h "$BED_INSIDE4" -c 50 -P 16 -n "$count" -t set,get,incr,lpush,lpop,mset --csv
	same "$(wc -l <<<"$out")" 7
	unlike "$out$err" "[Ee]rror"
	try 0 tools redis-cli -h "$BED_INSIDE4" get counter:__rand_int__
	same "$out" "$count"
}

@test "T21 T26: pgbench -c 20 from a box to its own published port" {
	local each
	each=$(scaled 400 20)
	log_line pg "ready to accept connections"
	try 0 a3s-box exec pg pgbench -q -i -h "$BED_INSIDE4" -U postgres postgres
	try 0 a3s-box exec pg pgbench -c 20 -j 2 -t "$each" -h "$BED_INSIDE4" -U postgres postgres
	like "$out" "actually processed: $((20 * each))/$((20 * each))"
	like "$out" "failed transactions: 0 "
	try 0 a3s-box exec pg psql -h "$BED_INSIDE4" -U postgres -Atc \
		"select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) from pgbench_history" postgres
	same "$out" "$((20 * each))|t"
}

@test "T26: curl and wget" {
	local digest i
	head -c "$(scaled $((256 << 20)))" /dev/urandom >"$FILES/random"
	digest=$(sha256sum <"$FILES/random")
	try 0 tools sh -c 'curl -sS http://v4.test:8000/random | sha256sum'
	same "$out" "$digest"
	try 0 tools sh -c 'wget -q -O - http://v4.test:8000/random | sha256sum'
	same "$out" "$digest"
	try 0 tools curl -sS "http://[$BED_OUTSIDE6]/who" "http://both.test/who"
	unlike "$err" .
	# two hundred transfers, thirty at a time, over names
	try 0 tools curl -sS --parallel --parallel-max 30 -o /dev/null -w '%{http_code}\n' "http://v4.test/[1-200]"
	same "$(grep -c '^200$' <<<"$out")" 200
	# another box's published port
	try 0 tools curl -sS "http://$BED_INSIDE4:8080/64.txt"
	like "$out" "sixty-four bytes"
}

# A package of one file, and a repository of that package.
make_repository() {
	local tree=$A3S_T/package deb=$FILES/apt/hello-box_1.0_all.deb
	mkdir -p "$tree/DEBIAN" "$tree/usr/share" "$FILES/apt"
	printf 'Package: hello-box\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a greeting\n' >"$tree/DEBIAN/control"
	head -c 3000000 /dev/urandom >"$tree/usr/share/hello-box"
	dpkg-deb --root-owner-group -b "$tree" "$deb" >/dev/null
	{
		dpkg-deb -f "$deb"
		printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n' "${deb##*/}" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
	} >"$FILES/apt/Packages"
	printf 'Date: %s\nSHA256:\n %s %s Packages\n' "$(date -Ru)" "$(sha256sum "$FILES/apt/Packages" | cut -d ' ' -f 1)" \
		"$(stat -c %s "$FILES/apt/Packages")" >"$FILES/apt/Release"
}

@test "T26: apt-get update and install" {
	make_repository
	tools sh -c 'rm -f /etc/apt/sources.list.d/*; echo "deb [trusted=yes] http://v4.test:8000/apt ./" >/etc/apt/sources.list'
	try 0 tools apt-get -q update
	unlike "$out$err" "W:|E:|onnect|imed out"
	try 0 tools apt-get -q -y install hello-box
	try 0 tools sha256sum /usr/share/hello-box
	same "${out%% *}" "$(sha256sum <"$A3S_T/package/usr/share/hello-box" | cut -d ' ' -f 1)"
}

@test "T26: git clone over git's own protocol and http, and push" {
	local server=$FILES/project.git work=$A3S_T/work
	git init -q --bare "$server"
	git -C "$server" config daemon.receivepack true
	git init -q "$work"
	head -c "$(scaled $((64 << 20)))" /dev/urandom >"$work/blob"
	seq 20000 >"$work/text"
	git -C "$work" add .
	git -C "$work" -c user.name=a -c user.email=a@localhost commit -q -m first
	git -C "$work" push -q "$server" HEAD:refs/heads/main
	git -C "$server" symbolic-ref HEAD refs/heads/main
	git -C "$server" update-server-info
	# shellcheck disable=SC2086 # a command line, whose last program has the pid
	background git $BED_ENTER_OUTSIDE git -c safe.directory='*' daemon --base-path="$FILES" --export-all --reuseaddr
	wait_for 20 in_outside socat -u OPEN:/dev/null "TCP4:$BED_OUTSIDE4:9418"
	try 0 tools git clone -q git://v4.test/project.git /root/one
	try 0 tools git clone -q http://v4.test:8000/project.git /root/two
	try 0 tools sha256sum /root/one/blob /root/two/blob
	same "$(cut -d ' ' -f 1 <<<"$out" | sort -u)" "$(sha256sum <"$work/blob" | cut -d ' ' -f 1)"
	try 0 tools sh -ec 'cd /root/one; head -c 1000000 /dev/urandom >more; git add more
		git -c user.name=b -c user.email=b@localhost commit -q -m second; git push -q origin HEAD:main; git rev-parse HEAD'
	same "$(git -C "$server" rev-parse main)" "$out"
	kill "$pid"
	wait "$pid" || true
}

# streams_are_good BYTES: iperf3's report has no error, so many bytes sent, and bytes through each of 8 streams. Its receiver
# leaves unread what is under way when its peer says over the control connection that all is sent.
streams_are_good() {
	same "$(jq -r '.error // "none"' <<<"$out")" none
	same "$(jq '[.end.streams[] | select(.receiver.bytes > 0 and .sender.bytes > 0)] | length' <<<"$out")" 8
	[ "$(jq '.end.sum_sent.bytes' <<<"$out")" -ge "$1" ] || fail_with "$(jq -c .end.sum_sent <<<"$out")"
}

@test "T26: iperf3 -P 8 both ways, to the outside and through a published port" {
	local bytes reverse
	bytes=$(scaled $((1 << 30)))
	# shellcheck disable=SC2086
	background iperf $BED_ENTER_OUTSIDE iperf3 -s
	wait_for 20 in_outside sh -c 'ss -Htln | grep -q :5201'
	for reverse in "" -R; do
		try 0 tools iperf3 -J -c "$BED_OUTSIDE4" -P 8 -n "$bytes" $reverse
		streams_are_good "$bytes"
	done
	kill "$pid"
	wait "$pid" || true
	background iperf a3s-box exec tools iperf3 -s --forceflush
	wait_for "$A3S_LIMIT" grep -q listening "$A3S_T/iperf"
	for reverse in "" -R; do
		try 0 in_outside iperf3 -J -c "$BED_INSIDE4" -P 8 -n "$bytes" $reverse
		streams_are_good "$bytes"
	done
}

# serves PORT: what server.js and Server.java promise
serves() {
	local url=http://$BED_INSIDE4:$1 bytes
	bytes=$(scaled $((256 << 20)))
	try 0 in_outside curl -sS "$url/who"
	like "$out" '^(::ffff:)?10\.77\.0\.2$'
	try 0 in_outside sh -c "curl -sS $url/bytes/$bytes | wc -c"
	same "$out" "$bytes"
	try 0 in_outside sh -c "head -c $bytes /dev/zero | curl -sS -X POST -H 'Content-Type: x/y' -H Expect: --data-binary @- $url/"
	same "$out" "$bytes"
	load_with 100 "$url/"
}

@test "T26: a web server in Node" {
	background node a3s-box exec tools node /probe/server.js 8000
	wait_for "$A3S_LIMIT" grep -q listening "$A3S_T/node"
	serves 8000
}

@test "T26: a web server in Java" {
	in_product a3s-box run -d --name java -p 8001:8000 java >/dev/null 3>&-
	log_line java listening
	serves 8001
	a3s-box rm -f java >/dev/null
}
