# shellcheck shell=bash disable=SC2034,SC2154
# Debian's Python, and the scripts of tests/guest-programs in /probe.
base=python3-debian
inputs="$guest_programs/*.py"
config='{"Cmd":["python3"],"Env":["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin","PYTHONUNBUFFERED=1","PYTHONDONTWRITEBYTECODE=1"]}'

tree() {
	mkdir -p "$1/probe"
	cp "$guest_programs"/*.py "$1/probe/"
}
