#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# usage: program.sh A3S_BOX TESTS
#
# What the command line shows and refuses, on records written by hand: no image, no box that runs. Reads like a transcript;
# try STATUS COMMAND..., then the expected standard output, error included, behind "<<<".
set -u
box=$(realpath "$1")
tests=$(realpath "$2")
work=$(mktemp -d /tmp/a3s-program.XXXXXX)
trap 'rm -rf "$work"' EXIT
export A3S_HOME=$work/home XDG_RUNTIME_DIR=$work TMPDIR=$work HOME=$work TZ=UTC LC_ALL=C A3S_LIMIT=20
bad=0

a3s-box() {
	"$box" "$@"
}

# try STATUS COMMAND...: status and output are what standard input says.
try() {
	local want=$1 status=0 out expected
	shift
	expected=$(cat)
	out=$("$@" 2>&1 </dev/null) || status=$?
	[ "$status" = "$want" ] && [ "$out" = "$expected" ] && return
	printf '+ %s\n  status %s, expected %s\n%s\n  expected:\n%s\n' "$*" "$status" "$want" "$out" "$expected"
	bad=1
}

# record NAME DIGIT STATE [FIELDS]: a box whose id is that digit 64 times, made DIGIT seconds after 1 January 2026
record() {
	local id dir
	id=$(printf "%064d" 0 | tr 0 "$2")
	dir=$A3S_HOME/boxes/$id
	mkdir -p "$dir" "$A3S_HOME/names"
	printf '{"id":"%s","name":"%s","created_ns":%d000000000,"image":"nginx:latest","image_id":"sha256:%s","command":["nginx"]%s}' \
		"$id" "$1" $((1767225600 + $2)) "$id" "${4:-}" >"$dir/config.json"
	printf '%s' "$3" >"$dir/state.json"
	ln -s "$id" "$A3S_HOME/names/$1"
}

mkdir -m 700 "$A3S_HOME"
record web 1 '{"status":"exited","exit_code":3,"finished_ns":1767225700000000000}' ',"labels":["a=b","c.d=e,f"],"exposed":["80/tcp"]'
record web2 2 '{"status":"created"}' ',"network":"none"'
record db 3 '{"status":"exited","exit_code":0,"finished_ns":1767225700000000000}' ',"labels":["a=x"],"ports":[{"host_port":5353,"guest_port":53,"protocol":"udp"}]'

# -- logs: both streams in one file keep the order in which the box wrote
log=$A3S_HOME/boxes/$(readlink "$A3S_HOME/names/web")/log.json
for i in 1 2; do
	printf '{"log":"%s%d\\n","stream":"%s","time":"2026-01-01T00:00:0%dZ"}\n' out "$i" stdout "$i" err "$i" stderr "$i"
done >"$log"
try 0 a3s-box logs web <<<$'out1\nerr1\nout2\nerr2'

# -- --format: what docker's users write, and what their scripts look for (C09)
try 0 a3s-box ps -a --format '{{.Names}} {{.Label "c.d"}}|{{.Label "a"}}|{{.Size}}' <<<$'db |x|0B (virtual 0B)\nweb2 ||0B (virtual 0B)\nweb e,f|b|0B (virtual 0B)'
try 0 a3s-box ps -af id=1 --format 'table {{.Names}}\t{{.Label "com.x-y"}}\t{{printf "%.3s" .ID}}' <<<$'NAMES     x y       CON\nweb                 111'
try 0 a3s-box ps -asf id=1 --format '{{if eq .State "created"}}new{{else if eq .State "exited"}}gone{{else}}there{{end}}' <<<gone
try 0 a3s-box ps -af id=1 --format '{{slice .ID 0 4}} {{join (split .Labels ",") "+"}}' <<<'1111 a=b+c.d=e+f'
try 0 sh -c '"$0" ps -af id=1 --format json | jq -r "has(\"Label\"), .Size"' "$box" <<<$'false\n0B'
try 0 a3s-box inspect -f '{{.NetworkSettings.IPAddress}}|{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' web <<<'|none'
try 0 a3s-box inspect -f '{{range $n, $v := .NetworkSettings.Networks}}{{$n}}={{$v.IPAddress}};{{end}}{{len .NetworkSettings.Ports}}' web web2 \
	<<<$'tsi=;0\nnone=;0'
try 125 a3s-box ps --format '{{frobnicate .Names}}' <<<'a3s-box: --format: unknown function "frobnicate"'
try 125 a3s-box ps --format '{{slice .Names 0 99}}' <<<'a3s-box: --format: out of range: "slice"'
try 125 a3s-box inspect -f '{{.Nothing}}' web <<<'a3s-box: --format: there is no field "Nothing"'

# -- ps --filter: docker's keys; what cannot be meant is refused (C09)
names() {
	a3s-box ps -a --format '{{.Names}}' "$@"
}
filters="ancestor, before, exited, expose, id, label, name, network, publish, since, status"
try 0 names -f 'name=^/web$' <<<web
try 0 names -f 'name=^web$' <<<web
try 0 names -f name=web <<<$'web2\nweb'
try 0 names -f status=created <<<web2
try 0 names -f exited=3 <<<web
try 0 names -f status=paused <<<""
try 0 names -f before=web2 <<<web
try 0 names -f since=1111 <<<$'db\nweb2'
try 0 names -f network=none <<<web2
try 0 names -f expose=79-81/tcp <<<web
try 0 names -f expose=80/udp <<<""
try 0 names -f publish=53/udp <<<db
try 0 names -f publish=5353/udp <<<db
try 0 names -f publish=5353 <<<""
try 0 names -f label=a <<<$'db\nweb'
try 0 names -f label=a -f label=c.d <<<web
try 0 names -f id=2 -f id=3 <<<$'db\nweb2'
try 0 names -f ancestor=nginx -f id=2 <<<web2
try 125 names -f status=bogus <<<'a3s-box: --filter status: "bogus" is none of created, starting, running, exited, dead, paused, restarting, removing'
try 125 names -f nosuch=1 <<<"a3s-box: --filter: \"nosuch=1\" is not KEY=VALUE with one of $filters"
try 125 names -f name <<<"a3s-box: --filter: \"name\" is not KEY=VALUE with one of $filters"
try 125 names -f exited=x <<<'a3s-box: --filter exited: "x" is not an exit code from 0 to 255'
try 125 names -f before=nosuch <<<'a3s-box: --filter before: no such box: nosuch'
try 125 names -f publish=0 <<<'a3s-box: --filter publish: "0" is not PORT[-PORT][/tcp|/udp]'
try 125 names -f network=bridge <<<'a3s-box: --filter network: "bridge" is neither tsi nor none'
try 125 names -f health=none <<<'a3s-box: not supported yet: --filter health'

# -- mistakes: one line, without the command's name before a flag; what docker has is announced (C05)
host=$(($(getconf _PHYS_PAGES) * $(getconf PAGESIZE) >> 20))
try 125 a3s-box run --pubish 80:80 x <<<'a3s-box: unknown flag: --pubish; the nearest that exists is --publish'
try 125 a3s-box run -m 4m x <<<'a3s-box: --memory: a microVM needs at least 96m'
try 125 a3s-box run -m 4096t x <<<"a3s-box: --memory: 4294967296m is more than this host's ${host}m"
try 125 a3s-box run -m x x <<<'a3s-box: --memory: "x" is not a size like 512m or 1g'
try 125 a3s-box kill -s FOO web <<<'a3s-box: --signal: unknown signal "FOO"'
try 125 a3s-box login --password-stdin <<<'a3s-box: --password-stdin needs --username'
try 125 a3s-box image prune <<<'a3s-box: not supported yet: image prune'
try 125 a3s-box container nosuch <<<'a3s-box: unknown command: container nosuch; container --help lists the commands'
try 0 a3s-box container ls -aq <<<$'333333333333\n222222222222\n111111111111'

# -- completion: the words before the one that is typed decide (C12)
complete() {
	a3s-box __complete "$@" | cut -f 1
}
try 0 complete completion '' <<<$'bash\nzsh\nfish'
try 0 complete image r <<<$'remove\nrm'
try 0 complete container sta <<<$'start\nstats'
try 0 complete con <<<container
try 0 complete container rm w <<<$'web2\nweb'
try 0 complete ps --filter n <<<$'name=\nnetwork='
try 0 complete ps --filter=status=ex <<<'--filter=status=exited'
try 0 complete ps -f status=r <<<$'status=running\nstatus=restarting\nstatus=removing'

# -- a store: none is made for those who only look, and no foreign directory is filled (R08)
try 0 env A3S_HOME="$work/none" "$box" ps -aq <<<""
try 0 env A3S_HOME="$work/none" "$box" images -q <<<""
try 0 env A3S_HOME="$work/none" "$box" info -f '{{.Boxes}} {{.Images}} {{.Home}}' <<<"0 0 $work/none"
try 1 env A3S_HOME="$work/none" "$box" logs x <<<'a3s-box: no such box: x'
try 1 env A3S_HOME="$work/none" "$box" inspect x <<<$'a3s-box: no such box or image: x\n[]'
[ ! -e "$work/none" ] || { echo "looking made a store"; bad=1; }
mkdir -m 700 "$work/empty" "$work/foreign"
: >"$work/foreign/file"
try 0 env A3S_HOME="$work/empty" "$box" ps -aq <<<""
mkdir -m 700 "$work/probed"
echo '{}' >"$work/probed/guest.json"
try 0 env A3S_HOME="$work/probed" "$box" ps -aq <<<""
[ -z "$(ls -A "$work/empty")" ] || { echo "looking filled an empty directory"; bad=1; }
try 125 env A3S_HOME="$work/foreign" "$box" ps \
	<<<"a3s-box: store $work/foreign: there are other files in it, and no boxes or images: set A3S_HOME to a new directory"
try 125 env A3S_HOME="$work/foreign/file/x" "$box" ps <<<"a3s-box: store $work/foreign/file/x: Not a directory; A3S_HOME chooses another place"
try 125 env A3S_HOME=/proc/a3s "$box" pull 127.0.0.1:1/x \
	<<<"a3s-box: cannot make the store /proc/a3s (A3S_HOME chooses another place): No such file or directory"

# -- login: Ctrl-C at the prompt leaves a terminal that shows what is typed
try 0 "$tests/lib/terminal.py" 24x80 'expect:Password: ' 'send:\x03' end -- sh -c \
	'trap : INT; "$0" login -u me registry.invalid; stty -a | grep -ow -- "-*echo"' "$box" <<<$'Password: echo'

exit "$bad"
