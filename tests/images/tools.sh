# shellcheck shell=bash disable=SC2034,SC2154
# Programs as people use them against a network: fetchers, git, load generators, and a web server in Node.
packages="apt ca-certificates curl wget git iperf3 redis-tools nodejs"
inputs="$guest_programs/server.js"
compression=zstd
config='{"Cmd":["sleep","infinity"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOME=/root"]}'

customize() {
	install -D -m 644 "$guest_programs/server.js" "$1/probe/server.js"
}
