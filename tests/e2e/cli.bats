#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# run and its exit codes, streams and terminals; what docker's users type (C01, C07).

load ../lib/common

setup_file() {
	file_begin
}

teardown() {
	clean_boxes
}

teardown_file() {
	file_end
}

# bats test_tags=user
@test "C01: run passes on the exit code, and keeps stdout and stderr apart" {
	try 7 a3s-box run --rm busybox sh -c 'echo to stdout; echo to stderr >&2; exit 7'
	same "$out" "to stdout"
	same "$err" "to stderr"
	try 0 a3s-box ps -aq
	same "$out" ""
}

@test "C01: 126 and 127, one clear line, nothing left" {
	try 127 a3s-box run --rm busybox no-such-command
	complains "no-such-command"
	try 126 a3s-box run --rm busybox /root/data
	complains "/root/data"
	try 126 a3s-box run --rm busybox /root
	complains "/root"
	try 0 a3s-box ps -aq
	same "$out" ""
}

# bats test_tags=user
@test "C01: stdin is piped with -i, and is empty without" {
	head -c 300000 /dev/urandom >"$A3S_T/bytes"
	a3s-box run -i --rm busybox cat <"$A3S_T/bytes" 3>&- | cmp - "$A3S_T/bytes"
	same "$(echo hello | timeout "$A3S_LIMIT" a3s-box run --rm busybox cat 3>&-)" ""
}

@test "C01: a signal's exit code is 128 and its number; signals reach the process of a foreground run" {
	a3s-box run --rm --name foreground probe signals 33 10 15 >"$A3S_T/out" 2>"$A3S_T/err" </dev/null 3>&- &
	local pid=$!
	wait_for "$A3S_LIMIT" grep -q waiting "$A3S_T/out"
	kill -USR1 "$pid"
	status=0
	wait "$pid" || status=$?
	same "$status" 33
	like "$(cat "$A3S_T/out")" "signal 10"
	try 0 a3s-box run -d --name killed probe signals 0 10
	wait_for "$A3S_LIMIT" is_state killed running
	try 0 a3s-box kill killed
	try 0 a3s-box wait killed
	same "$out" 137
	try 0 a3s-box rm killed
}

@test "C01: a terminal: size, changes of size, one stream, raw mode" {
	try 5 "$A3S_TESTS/lib/terminal.py" 31x97 'expect:31 97' 'expect:on a tty' resize:40x120 'expect:changed' 'expect:40 120' end -- \
		a3s-box run --rm -t probe sh -c 'trap "echo changed" WINCH; stty size; tty >/dev/null && echo on a tty >&2
			i=0; while [ "$(stty size)" = "31 97" ] && [ $i -lt 400 ]; do i=$((i + 1)); usleep 50000; done; stty size; exit 5'
	try 3 "$A3S_TESTS/lib/terminal.py" 24x80 'expect:[#$] ' 'send:echo $((6*7))\r' 'expect:\n42' 'send:exit 3\r' end -- \
		a3s-box run --rm -it busybox sh
}

@test "C01: Ctrl-P Ctrl-Q leaves, and the box goes on; attach comes back" {
	try 0 "$A3S_TESTS/lib/terminal.py" 24x80 'expect:[#$] ' 'send:\x10\x11' end -- a3s-box run -it --name detached busybox sh
	is_state detached running
	try 4 "$A3S_TESTS/lib/terminal.py" 24x80 'send:echo $((6*8))\r' 'expect:48' 'send:exit 4\r' end -- a3s-box attach detached
	try 0 a3s-box wait detached
	same "$out" 4
	try 0 a3s-box rm detached
}

# bats test_tags=user
@test "C01: -d prints the full id; --rm removes the box when it ends" {
	try 0 a3s-box run -d --rm --name short busybox sh -c 'read x </dev/null; usleep 200000; exit 0'
	like "$out" '^[0-9a-f]{64}$'
	wait_for "$A3S_LIMIT" no_box short
}

no_box() {
	! a3s-box inspect "$1" >/dev/null 2>&1
}

@test "C07: environment, user, workdir, entrypoint and hostname of the image and of flags" {
	try 0 a3s-box run --rm probe sh -c 'pwd; echo $PROBE; echo $PATH; id -u; hostname'
	like "$out" "^/work/dir"$'\n'"yes"$'\n'"/usr/local/bin:/usr/bin:/bin"$'\n'"0"$'\n'"[0-9a-f]{12}$"
	printf 'FROM_FILE=in file\n# a comment\nHOSTVAR\n' >"$A3S_T/env"
	try 0 env HOSTVAR=from-host a3s-box run --rm -e A=1 -e PROBE=no -e 'B=two words' -e HOSTVAR --env-file "$A3S_T/env" -w /tmp/new/dir \
		-u 1000:50 -h myhost.example probe sh -c 'pwd; echo $A-$PROBE-$B-$FROM_FILE-$HOSTVAR; id -u; id -g; hostname; grep -c myhost /etc/hosts; cat /etc/hostname'
	same "$out" $'/tmp/new/dir\n1-no-two words-in file-from-host\n1000\n50\nmyhost.example\n1\nmyhost.example'
	try 0 a3s-box run --rm -u user --entrypoint /bin/echo busybox one 'two words'
	same "$out" "one two words"
	try 0 a3s-box run --rm -u user busybox sh -c 'id -un; id -gn; id -Gn; echo $HOME'
	same "$out" $'user\nuser\nuser staff\n/home/user'
	try "125|126" a3s-box run --rm -u nosuchuser busybox true
	complains nosuchuser
	try 0 a3s-box ps -aq
	same "$out" ""
}

@test "C07: --tmpfs, --read-only, --init, memory and CPUs are what was asked for" {
	try 0 a3s-box run --rm --read-only --tmpfs /scratch:size=1m -m 200m --cpus 2 --init probe sh -c '
		touch /x 2>&1 | grep -o "Read-only file system"; touch /scratch/x && echo scratch
		grep -c ^processor /proc/cpuinfo; awk "/MemTotal/ { print (\$2 > 100000 && \$2 <= 204800) }" /proc/meminfo
		cat /proc/1/comm; df -k /scratch | awk "END { print \$2 }"'
	like "$out" $'^Read-only file system\nscratch\n2\n1\n'
	unlike "$(sed -n 5p <<<"$out")" '^sh$'
	same "$(sed -n 6p <<<"$out")" 1024
}

@test "C05: mistakes get one clear line and the right exit code" {
	try 0 a3s-box create --name taken busybox true
	try 125 a3s-box create --name taken busybox true
	complains "taken"
	try 0 a3s-box ps -aq
	same "$(wc -l <<<"$out")" 1
	try 125 a3s-box run --nmae x busybox true
	complains "nmae.*--name"
	try 125 a3s-box run -v /a:/b busybox true
	complains "not supported yet: -v"
	try 125 a3s-box run --volume /a:/b busybox true
	complains "not supported yet: --volume"
	try 125 a3s-box run
	complains "run"
	try "1|125" a3s-box rm
	complains "rm"
	try 125 a3s-box volume ls
	complains "not supported yet: volume"
	try 125 a3s-box nosuch
	complains "nosuch"
	try 1 a3s-box stop nosuchbox
	complains "nosuchbox"
	try 1 a3s-box inspect nosuchbox
	like "$err" nosuchbox
	try 1 a3s-box exec nosuchbox true
	complains nosuchbox
	try 125 a3s-box run --name '-x/y' busybox true
	complains "name"
	try 125 a3s-box run --network bridge busybox true
	complains "bridge"
	try 0 a3s-box rm taken
}

@test "C05: an ambiguous prefix is refused" {
	local i id prefix='' ids=()
	for i in {1..20}; do
		try 0 a3s-box create busybox true
		ids+=("$out")
	done
	for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
		[ "$(printf '%s\n' "${ids[@]}" | grep -c "^$i")" -ge 2 ] && prefix=$i
	done
	try 1 a3s-box port "$prefix"
	like "$err" "$prefix"
	like "$err" "[Aa]mbiguous|more than one|several"
	try 0 a3s-box rm "${ids[@]:0:1}"
	same "$out" "${ids[0]}"
	try 0 a3s-box rm "${ids[@]:1}"
}

@test "bad input: memory below what the guest needs, unknown image, unreachable registry" {
	try 125 a3s-box run --rm -m 4m busybox true
	complains "memory"
	try 125 a3s-box run --rm --pull never no/such:image true
	complains "no/such"
	try 125 a3s-box run --rm "127.0.0.1:1/nothing:here" true
	like "$err" "127.0.0.1:1"
	try 125 a3s-box run --rm "$A3S_REGISTRY/unknown:latest" true
	like "$err" "unknown"
	try 0 a3s-box ps -aq
	same "$out" ""
}

@test "bad input: a home that cannot be written, or that is not one" {
	echo file >"$A3S_T/file"
	try "1|125" env A3S_HOME="$A3S_T/file/home" a3s-box ps
	complains "$A3S_T/file"
	try "1|125" env A3S_HOME=/proc/a3s a3s-box pull busybox
	complains "/proc/a3s"
}

@test "bad input: a corrupt record is named and kept, the others are not disturbed" {
	local id
	try 0 a3s-box create --name good busybox true
	try 0 a3s-box create --name broken busybox true
	id=$out
	echo '{"half' >"$A3S_HOME/boxes/$id/config.json"
	try any a3s-box ps -a --format '{{.Names}}'
	same "$out" good
	like "$err" "$id/config.json"
	same "$(cat "$A3S_HOME/boxes/$id/config.json")" '{"half'
	try 0 a3s-box rm good
	rm -rf "$A3S_HOME/boxes/$id"
}

@test "bad input: missing qemu or guest bundle: says what to install" {
	mkdir -p "$A3S_T/path" "$A3S_T/nothing"
	local tool
	for tool in skopeo mkfs.ext4 env sh; do
		ln -sf "$(PATH=$PATH:/sbin:/usr/sbin command -v $tool)" "$A3S_T/path/$tool"
	done
	local box
	box=$(command -v a3s-box)
	try 125 env PATH="$A3S_T/path" "$box" run --rm busybox true
	like "$err" "qemu-system-x86"
	try 125 env A3S_GUEST_DIR="$A3S_T/nothing" a3s-box run --rm busybox true
	like "$err" "guest|kernel"
	try 0 a3s-box ps -aq
	same "$out" ""
}

@test "info and version say what runs the boxes, and why" {
	try 0 a3s-box version
	like "$out" "[0-9]+\.[0-9]+"
	try 0 a3s-box info
	like "$out" "[Aa]ccelerat|KVM|kvm|tcg"
	try 0 a3s-box --help
	like "$out" "run"
	try 0 a3s-box run --help
	like "$out" "--publish"
}
