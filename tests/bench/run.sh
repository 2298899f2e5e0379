#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: run.sh BUILD [start ps idle web tsi]
#
# Figures, each beside its peer, from runs that take turns on this machine. Every line: what, ours, the peer, the ratio, and
# the spread (smallest to largest). Nothing here fails: a figure is for reading, tests are for failing.
#
#	start	run --rm busybox true, against the same machine in bare QEMU with an init that powers off at once
#	ps	ps -a with 1,000 records; exec BOX true against a ping of the guest's agent
#	idle	memory and wake-ups of an idle box's own processes
#	web	a published nginx under wrk, against the same kernel and nginx behind passt
#	tsi	streams, exchanges, connections, out and published, against passt and slirp (tsi.py); one vCPU
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$(realpath "$1")
shift
parts=${*:-start ps idle web tsi}
: "${A3S_TEST_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/a3s-box/test-images}"
: "${A3S_BENCH_ROUNDS:=7}"
export A3S_TESTS=$top/tests LC_ALL=C PATH=$build/src/cli:$PATH

work=$(mktemp -d /tmp/a3s-bench.XXXXXX)
export BATS_FILE_TMPDIR=$work BATS_RUN_TMPDIR=$work TMPDIR=$work
export A3S_HOME=$work/home XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$A3S_HOME" "$XDG_RUNTIME_DIR"
. "$A3S_TESTS/lib/common.bash"
. "$A3S_TESTS/lib/bed.bash"
. "$A3S_TESTS/lib/registry.bash"
exec 3>/dev/null

cleanup() {
	local boxes
	boxes=$(a3s-box ps -aq 2>/dev/null)
	# shellcheck disable=SC2086 # ids
	[ -z "$boxes" ] || a3s-box rm -f $boxes >/dev/null 2>&1
	[ -z "${peers:-}" ] || kill "${peers[@]}" 2>/dev/null
	bed_down
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

die() {
	echo "bench: $*" >&2
	exit 1
}

now() {
	date +%s%N
}

# figures FILE: "median min max"
figures() {
	sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[1], v[NR] }'
}

# compare WHAT UNIT OURS-FILE PEER PEER-FILE
compare() {
	local a b
	read -ra a < <(figures "$3")
	read -ra b < <(figures "$5")
	printf '%-44s %10s %-6s  %s: %s  ratio %s  (%s to %s; %s to %s; n=%s)\n' "$1" "${a[0]}" "$2" "$4" "${b[0]}" \
		"$(awk "BEGIN { printf \"%.2f\", ${a[0]} / (${b[0]} ? ${b[0]} : 1) }")" "${a[1]}" "${a[2]}" "${b[1]}" "${b[2]}" "$(wc -l <"$3")"
}

alone() {
	local a
	read -ra a < <(figures "$3")
	printf '%-44s %10s %-6s  (%s to %s; n=%s)\n' "$1" "${a[0]}" "$2" "${a[1]}" "${a[2]}" "$(wc -l <"$3")"
}

# took FILE COMMAND...: milliseconds of one run
took() {
	local file=$1 start
	shift
	start=$(now)
	"$@" >/dev/null 2>"$work/err" </dev/null || { cat "$work/err" >&2; die "failed: $*"; }
	echo $((($(now) - start) / 1000000)) >>"$file"
}

get_image() {
	local layout
	layout=$("$A3S_TESTS/images/build.sh" "$A3S_TEST_CACHE" "$1") || die "cannot make the image $1"
	skopeo --insecure-policy copy -q "oci:$layout:latest" "docker-archive:$work/$1.tar:$1:latest" || die "skopeo failed"
	a3s-box load -q -i "$work/$1.tar" >/dev/null || die "cannot load $1"
	rm "$work/$1.tar"
}

# pid_of BOX PROGRAM: the box's process; all of them are descendants of its monitor
pid_of() {
	local id pid
	id=$(a3s-box inspect --format '{{.Id}}' "$1")
	for pid in $(pgrep -f "a3s-box-monitor.*${id:0:12}"); do
		[[ $2 == a3s-box-monitor ]] && echo "$pid" && return
		pgrep -P "$pid" -f "$2" && return
	done
}

# The machine line of a running box, with files for descriptors and without what the monitor alone needs.
bare_command() {
	local -a line
	local i
	mapfile -d '' line <"/proc/$(pid_of model qemu-system)/cmdline"
	bare=()
	for ((i = 0; i < ${#line[@]}; i++)); do
		case ${line[i]} in
		-chardev | -mon | -serial | -qmp | -add-fd | -incoming) i=$((i + 1)) ;;
		-S | -daemonize) ;;
		-kernel) bare+=(-kernel "$build/src/guest/vmlinux"); i=$((i + 1)) ;;
		-initrd) bare+=(-initrd "$build/src/guest/initramfs"); i=$((i + 1)) ;;
		-append) i=$((i + 1)); bare+=(-append "${line[i]} a3s.poweroff") ;;
		*) bare+=("${line[i]}") ;;
		esac
	done
	bare+=(-serial null)
}

bench_start() {
	local i
	a3s-box run -d --name model busybox sleep 100000 >/dev/null || die "no box"
	bare_command
	a3s-box rm -f model >/dev/null
	for ((i = 0; i <= A3S_BENCH_ROUNDS; i++)); do
		took "$work/start.ours" a3s-box run --rm busybox true
		took "$work/start.bare" timeout 60 "${bare[@]}"
		[ $i -gt 0 ] || rm "$work"/start.* # the first warms caches
	done
	compare "start: run --rm busybox true" ms "$work/start.ours" "bare QEMU" "$work/start.bare"
}

bench_ps() {
	local i
	a3s-box run -d --name here busybox sleep 100000 >/dev/null || die "no box"
	for ((i = 0; i < 999; i++)); do
		a3s-box create busybox true >/dev/null || die "create failed"
	done
	for ((i = 0; i < A3S_BENCH_ROUNDS; i++)); do
		took "$work/ps" a3s-box ps -a
		took "$work/exec" a3s-box exec here true
		"$here/agent-ping.py" "$(find "$XDG_RUNTIME_DIR" -name agent.sock)" >>"$work/ping" || die "no agent"
	done
	alone "ps -a with 1,000 records" ms "$work/ps"
	compare "exec BOX true" ms "$work/exec" "agent ping" "$work/ping"
	a3s-box ps -aq | xargs a3s-box rm -f >/dev/null
}

switches() {
	cat /proc/"$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'
}

bench_idle() {
	local program pid pss total=0 before after
	a3s-box run -d --name idle busybox sleep 100000 >/dev/null || die "no box"
	wait_for 60 a3s-box exec idle true
	read -rt 3 <>"$A3S_NEVER" # let it come to rest
	for program in a3s-box-monitor a3s-box-vsock a3s-box-resolver qemu-system; do
		pid=$(pid_of idle $program | head -n 1)
		[ -n "$pid" ] || { printf '%-44s not running\n' "idle: $program"; continue; }
		pss=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")
		before=$(switches "$pid")
		read -rt 10 <>"$A3S_NEVER"
		after=$(switches "$pid")
		printf '%-44s %10s KiB     wake-ups in 10 s: %s\n' "idle: $program PSS" "$pss" $((after - before))
		case $program in *monitor | *vsock) total=$((total + pss)) ;; esac
	done
	printf '%-44s %10s KiB     limit 8192\n' "idle: monitor + vsock PSS" "$total"
	a3s-box rm -f idle >/dev/null
}

# Clock ticks used by these processes.
ticks() {
	local pid
	for pid; do
		cat "/proc/$pid/stat"
	done | awk '{ n += $14 + $15 } END { print n + 0 }'
}

# load_web NAME PORT PID...: one wrk run; appends requests per second, p99 in ms and CPU percent
load_web() {
	local name=$1 port=$2 before out
	shift 2
	before=$(ticks "$@")
	out=$(in_outside wrk -t 1 -c 100 -d 5s --latency "http://$BED_INSIDE4:$port/64.txt") || die "wrk failed"
	awk '/Requests\/sec/ { print $2 }' <<<"$out" >>"$work/web.$name.rate"
	awk '/ 99%/ { v = $2; m = v ~ /us$/ ? 0.001 : v ~ /ms$/ ? 1 : 1000; sub(/[a-z]+$/, "", v); printf "%.2f\n", v * m }' <<<"$out" >>"$work/web.$name.p99"
	echo $((($(ticks "$@") - before) * 100 / $(getconf CLK_TCK) / 5)) >>"$work/web.$name.cpu"
	grep -E 'Socket errors|Non-2xx' <<<"$out" | sed "s/^/   $name: /"
}

# start_peer LINK PORT IMAGE COMMAND: the guest in $work/machine behind passt or slirp; sets ${pids[LINK]} to its processes
declare -a peers
declare -A pids
start_peer() {
	# shellcheck disable=SC2086 # a command line, whose last program has the pid
	$BED_ENTER_PRODUCT "$here/peer.py" "$build" "$work" "$A3S_HOME" "$3" "$1" "$2" "$4" >"$work/$1.log" 2>&1 {BED_ALIVE}>&- &
	peers+=($!)
	wait_for 60 grep -q '^pids' "$work/$1.log" || { cat "$work/$1.log"; die "no peer"; }
	pids[$1]=$(sed -n 's/^pids //p' "$work/$1.log")
}

stop_peers() {
	kill "${peers[@]}"
	wait "${peers[@]}" 2>/dev/null
	peers=()
}

# note_machine IMAGE [OPTION...]: the machine line of a box run so, for peers
note_machine() {
	a3s-box run -d --name model "${@:2}" "$1" >/dev/null || die "no box"
	bare_command
	a3s-box rm -f model >/dev/null
	printf '%s\0' "${bare[@]}" >"$work/machine"
}

# Without its access log: the two would send it different ways.
QUIET_NGINX="sed -i 's,access_log .*,access_log off;,' /etc/nginx/nginx.conf; exec nginx -g 'daemon off;'"

bench_web() {
	local i
	bed_possible >/dev/null || { echo "web: no namespaces here"; return; }
	[ -n "${BED_ALIVE:-}" ] || bed_up || die "no test bed"
	in_product a3s-box run -d --name web -p 8080:80 nginx sh -c "$QUIET_NGINX" >/dev/null || die "no box"
	pids[ours]="$(pid_of web qemu-system) $(pid_of web a3s-box-vsock)"
	note_machine nginx
	start_peer passt 8081 nginx "$QUIET_NGINX"
	wait_for 60 in_outside curl -s -o /dev/null "http://$BED_INSIDE4:8081/64.txt" || { cat "$work/passt.log"; die "the peer does not answer"; }
	wait_for 60 in_outside curl -s -o /dev/null "http://$BED_INSIDE4:8080/64.txt" || die "our nginx does not answer"
	for i in 1 2 3 4 5; do
		# shellcheck disable=SC2086 # lists of process ids
		load_web ours 8080 ${pids[ours]}
		# shellcheck disable=SC2086
		load_web passt 8081 ${pids[passt]}
	done
	compare "web: wrk -c 100, 64 bytes" req/s "$work/web.ours.rate" passt "$work/web.passt.rate"
	compare "web: 99th percentile" ms "$work/web.ours.p99" passt "$work/web.passt.p99"
	compare "web: CPU of QEMU and device or passt" % "$work/web.ours.cpu" passt "$work/web.passt.cpu"
	stop_peers
	a3s-box rm -f web >/dev/null
}

# What each guest of the network figures runs: its name goes with the shell that it connects to the measuring side.
bench_guest() {
	echo "nginx; exec /usr/local/bin/netbench shell $BED_OUTSIDE4 7070 $1"
}

bench_tsi() {
	bed_possible >/dev/null || { echo "tsi: no namespaces here"; return; }
	[ -n "${BED_ALIVE:-}" ] || bed_up || die "no test bed"
	get_image bench
	gcc -O2 -D_GNU_SOURCE -pthread -o "$work/netbench" "$A3S_TESTS/guest-programs/netbench.c" || die "no netbench"
	note_machine bench --cpus 1 -m 768m
	start_peer passt 8081 bench "$(bench_guest passt)"
	start_peer slirp 8082 bench "$(bench_guest slirp)"
	in_product a3s-box run -d --name ours --cpus 1 -m 768m -p 8080:80 bench sh -c "$(bench_guest ours)" >/dev/null || die "no box"
	pids[ours]="$(pid_of ours qemu-system) $(pid_of ours a3s-box-vsock)"
	in_outside "$here/tsi.py" "$BED_OUTSIDE4" "$A3S_BENCH_ROUNDS" "$work/netbench" "$BED_INSIDE4" "ours:8080:${pids[ours]// /,}" \
		"passt:8081:${pids[passt]// /,}" "slirp:8082:${pids[slirp]// /,}" || die "no figures"
	stop_peers
	a3s-box rm -f ours >/dev/null
}

get_image busybox
get_image nginx
a3s-box info 2>/dev/null | grep -iE 'accel|kvm|reason'
for part in $parts; do
	"bench_$part"
done
