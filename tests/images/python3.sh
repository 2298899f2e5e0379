# shellcheck shell=bash disable=SC2034,SC2154
# Debian's Python with its own test suite, and the scripts of tests/guest-programs in /probe.
packages="python3 libpython3.11-testsuite netbase"
inputs=$guest_programs/*.py
config='{"Cmd":["python3"],"Env":["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin","PYTHONUNBUFFERED=1","PYTHONDONTWRITEBYTECODE=1"]}'

customize() {
	mkdir -p "$1/probe"
	cp "$guest_programs"/*.py "$1/probe/"
}
