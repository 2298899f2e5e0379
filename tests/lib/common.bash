# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every end-to-end test file loads. A file reads like a transcript:
#
#	try 0 a3s-box run --rm busybox echo hi
#	same "$out" hi
#
# setup_file() calls file_begin, teardown_file() calls file_end, which fails when anything was left behind.
# From tests/e2e/run.sh: A3S_TESTS, A3S_SEED (a home with the test images in it), A3S_REGISTRY (host:port), PATH.

# Seconds that a command may take before it counts as hung; without KVM a boot takes seconds.
: "${A3S_LIMIT:=120}"

file_begin() {
	A3S_T=$(mktemp -d /tmp/a3s.XXXXXX)
	export A3S_T A3S_HOME=$A3S_T/home XDG_RUNTIME_DIR=$A3S_T/run TMPDIR=$A3S_T/tmp HOME=$A3S_T/user
	mkdir -m 700 "$A3S_HOME" "$XDG_RUNTIME_DIR" "$HOME"
	mkdir -m 1777 "$TMPDIR"
	unset DOCKER_CONFIG REGISTRY_AUTH_FILE
	[ "${1:-}" = empty ] || seed "$A3S_HOME"
}

# Give a home the test images, without pulling them again: nothing in images/ is ever changed in place.
seed() {
	cp -al "$A3S_SEED/images" "$1/images"
	cp -a "$A3S_SEED"/*.json "$1/" 2>/dev/null || true
}

# Remove all boxes but those of these names, so that one test's failure is not the next one's.
clean_boxes() {
	local id keep=" $* "
	for id in "$A3S_HOME"/boxes/*/; do
		id=$(basename "$id")
		[[ $keep != *" $(jq -r .name "$A3S_HOME/boxes/$id/config.json" 2>/dev/null) "* ]] || continue
		[ "$id" = '*' ] || timeout "$A3S_LIMIT" a3s-box rm -f "$id" >/dev/null 2>&1 || true
	done
}

file_end() {
	local bad=0
	clean_boxes
	wait_for 10 no_leftovers || bad=1
	if [ "$bad" = 1 ]; then
		echo "# left behind by ${BATS_TEST_FILENAME##*/}:" >&3
		leftovers | sed 's/^/# /' >&3
		# shellcheck disable=SC2046
		kill -9 $(leftover_pids) 2>/dev/null
	fi
	rm -rf "$A3S_T"
	return "$bad"
}

# Processes that belong to this file's home: they have it in their environment or command line.
leftover_pids() {
	local dir pid
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		[ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] && continue
		case $({ tr '\0' ' ' <"$dir/cmdline"; } 2>/dev/null) in
		a3s-box* | */a3s-box* | qemu-system* | */qemu-system* | passt* | skopeo* | *tar2sqfs*) ;;
		*) continue ;;
		esac
		if grep -qsF "$A3S_T/" "$dir/environ" "$dir/cmdline" 2>/dev/null || [ -n "$(find "$dir/fd" -lname "$A3S_T/*" 2>/dev/null | head -n 1)" ]; then
			echo "$pid"
		fi
	done
}

leftovers() {
	local pid
	for pid in $(leftover_pids); do
		echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-200)"
	done
	find "$XDG_RUNTIME_DIR" -mindepth 1 -not -path '*/containers*' -path '*/a3s-*/*' -printf 'file %p\n' 2>/dev/null
	find "$A3S_HOME/boxes" "$A3S_HOME/images/incoming" -mindepth 1 -maxdepth 1 -printf 'record %p\n' 2>/dev/null
}

no_leftovers() {
	[ -z "$(leftovers)" ]
}

# try STATUS COMMAND...: run with a deadline; sets $out, $err and $status. STATUS may be "any" or a list "1|125".
try() {
	local want=$1 files
	shift
	files=$(mktemp -d "$TMPDIR/try.XXXXXX")
	status=0
	if [ "$(type -t "$1")" = function ]; then
		"$@" >"$files/out" 2>"$files/err" 3>&- </dev/null || status=$?
	else
		timeout -k 5 "$A3S_LIMIT" "$@" >"$files/out" 2>"$files/err" 3>&- </dev/null || status=$?
	fi
	out=$(tr -d '\0' <"$files/out")
	err=$(tr -d '\0' <"$files/err")
	rm -rf "$files"
	echo "+ $*"
	[ -z "$out" ] || sed -n '1,40s/^/  /p' <<<"$out"
	[ -z "$err" ] || sed -n '1,40s/^/  ! /p' <<<"$err"
	[ "$want" = any ] && return 0
	[[ "|$want|" == *"|$status|"* ]] || fail_with "exit status $status, expected $want"
}

fail_with() {
	echo "FAILED: $*"
	return 1
}

same() {
	[ "$1" = "$2" ] || fail_with "got $(printf %q "$1"), expected $(printf %q "$2")"
}

like() {
	[[ $1 =~ $2 ]] || fail_with "got $(printf %q "$1"), expected something like /$2/"
}

unlike() {
	! [[ $1 =~ $2 ]] || fail_with "got $(printf %q "$1"), expected nothing like /$2/"
}

# One clear line for a person: stderr is one line, names the program, and matches.
complains() {
	[ "$(wc -l <<<"$err")" = 1 ] || fail_with "stderr is not one line: $(printf %q "$err")" || return 1
	like "$err" "^a3s-box: " && like "$err" "$1"
}

# wait_for SECONDS COMMAND...: look again every 50 ms until it succeeds or the time is over.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -le "$end" ] || { echo "gave up waiting for: $*"; return 1; }
		read -rt 0.05 <>"$A3S_NEVER" || true
	done
}

# Follow a box's log until a line matches; prints that line.
log_line() {
	local line
	line=$(timeout "$A3S_LIMIT" a3s-box logs -f "$1" 2>&1 3>&- | grep -m 1 -E "$2") && echo "$line" && return 0
	echo "no line like /$2/ in the log of $1:"
	timeout 10 a3s-box logs --tail 20 "$1" 2>&1 || true
	return 1
}

# kill_in BOX WORD: SIGKILL to the processes of a python3 box that have the argument WORD
kill_in() {
	timeout "$A3S_LIMIT" a3s-box exec "$1" python3 -c '
import glob, os, signal, sys
for path in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        with open(path, "rb") as f:
            words = f.read().split(b"\0")
        if sys.argv[1].encode() in words and b"-c" not in words:
            os.kill(int(path.split("/")[2]), signal.SIGKILL)
    except OSError:
        pass' "$2" 3>&-
}

state() {
	a3s-box inspect --format '{{.State.Status}}' "$1" 2>/dev/null
}

is_state() {
	[ "$(state "$1")" = "$2" ]
}

# A TCP port that nobody uses now, below the ephemeral range.
free_port() {
	local port
	while port=$((RANDOM % 12000 + 20000)); do
		[ -z "$(ss -Htan "sport = :$port")" ] && [ -z "$(ss -Huan "sport = :$port")" ] && break
	done
	echo "$port"
}

port_free() {
	[ -z "$("${@:2}" ss -Htan "sport = :$1")" ]
}

# A number of the full size, scaled: scaled 16384 is 1024 with A3S_SCALE=1/16.
scaled() {
	local n=$(($1 * ${A3S_SCALE:-1/16}))
	echo $((n > ${2:-1} ? n : ${2:-1}))
}

need_network() {
	local why
	why=$(bed_possible) || skip "no namespaces here: ${why##*$'\n'}"
}

# Make a read time out: a pipe on which nothing ever comes.
A3S_NEVER=${BATS_RUN_TMPDIR:-/tmp}/never
[ -p "$A3S_NEVER" ] || mkfifo "$A3S_NEVER" 2>/dev/null || true
