# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A real registry on loopback, plain HTTP, on a port of the kernel's choice or A3S_REGISTRY_PORT. Its blobs are kept in the cache, so that an
# image is pushed once. A second one wants user "tester" and password "secret".

# docker-registry installed as a package would start a service: only its program is wanted.
registry_program() {
	local cache=$1/registry
	command -v docker-registry && return 0
	if [ ! -x "$cache/usr/bin/docker-registry" ]; then
		mkdir -p "$cache"
		(cd "$cache" && apt-get download -q docker-registry && dpkg-deb -x docker-registry_*.deb . && rm -f ./*.deb) >&2 || return 1
	fi
	echo "$cache/usr/bin/docker-registry"
}

registry_free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# registry_start CACHE WORK [auth]: prints "PID HOST:PORT"
registry_start() {
	local cache=$1 work=$2 auth=${3:-} port program storage pid end
	program=$(registry_program "$cache") || return 1
	port=${A3S_REGISTRY_PORT:-$(registry_free_port)}
	storage=$cache/storage
	mkdir -p "$storage" "$work"
	{
		printf 'version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\n'
		printf 'storage:\n  filesystem: {rootdirectory: "%s"}\n  delete: {enabled: true}\n' "$storage"
		printf 'http: {addr: "127.0.0.1:%s"}\n' "$port"
		[ -z "$auth" ] || printf 'auth: {htpasswd: {realm: test, path: "%s/htpasswd"}}\n' "$work"
	} >"$work/registry$auth.yml"
	# shellcheck disable=SC2016 # tester:secret, bcrypt
	echo 'tester:$2b$04$yEfttaFREuuLlripdg5k8u/shRa2U/mN98Tg6rQboOBgwsSAqCeCu' >"$work/htpasswd"
	OTEL_TRACES_EXPORTER=none "$program" serve "$work/registry$auth.yml" >"$work/registry$auth.log" 2>&1 </dev/null 3>&- &
	pid=$!
	end=$((SECONDS + 20))
	until curl -s -o /dev/null "http://127.0.0.1:$port/v2/"; do
		if [ "$SECONDS" -gt "$end" ] || ! kill -0 "$pid" 2>/dev/null; then
			cat "$work/registry$auth.log" >&2
			return 1
		fi
	done
	echo "$pid 127.0.0.1:$port"
}

registry_stop() {
	kill "$1" 2>/dev/null || return 0
	timeout -k 1 10 tail --pid="$1" -f /dev/null || kill -9 "$1"
}

# registry_push HOST:PORT CACHE LAYOUT NAME:TAG: push an OCI layout unless the storage has it
registry_push() {
	local stamp
	stamp=$2/storage/pushed-${4//[\/:]/_}-${3##*/}
	[ -e "$stamp" ] && return 0
	skopeo --insecure-policy copy -q --all --dest-tls-verify=false "oci:$3:${5:-latest}" "docker://$1/$4" >&2 || return 1
	rm -f "$2/storage/pushed-${4//[\/:]/_}-"*
	: >"$stamp"
}
