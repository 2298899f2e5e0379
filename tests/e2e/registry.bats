#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images from a real registry and from archives (I01, I02, I05), and services made by others running from them.

load ../lib/common

setup_file() {
	file_begin empty
	cp -a "$A3S_SEED"/*.json "$A3S_HOME/" 2>/dev/null || true
}

teardown() {
	clean_boxes
}

teardown_file() {
	file_end
}

digest_of() {
	sha256sum <"$1" | cut -d ' ' -f 1
}

# bats test_tags=user
@test "I01: pull by tag and by digest, digest printed, listed by docker's columns" {
	try 0 a3s-box pull "$A3S_REGISTRY/busybox:latest"
	local digest
	digest=$(grep -oE 'sha256:[0-9a-f]{64}' <<<"$out" | head -n 1)
	like "$out" "Digest: sha256:[0-9a-f]{64}"
	same "$digest" "$(skopeo --insecure-policy inspect --tls-verify=false --format '{{.Digest}}' "docker://$A3S_REGISTRY/busybox:latest")"
	try 0 a3s-box images
	like "$out" "^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE"$'\n'"$A3S_REGISTRY/busybox +latest +[0-9a-f]{12} "
	try 0 a3s-box pull -q "$A3S_REGISTRY/busybox@$digest"
	try 0 a3s-box run --rm "$A3S_REGISTRY/busybox@$digest" echo by digest
	same "$out" "by digest"
}

@test "I01: run pulls what is not there; --pull never does not" {
	try 125 a3s-box run --rm --pull never "$A3S_REGISTRY/probe" true
	complains "probe"
	try 1 a3s-box run --rm "$A3S_REGISTRY/probe" sh -c 'echo $PROBE; cat /root/data 2>&1'
	like "$out" "^yes"$'\n'".*No such file"
}

@test "I01: credentials: refused without and with wrong ones; login, pull, logout" {
	try "1|125" a3s-box pull "$A3S_REGISTRY_AUTH/busybox"
	complains "$A3S_REGISTRY_AUTH"
	try "1|125" login_with_stdin wrong
	complains "$A3S_REGISTRY_AUTH"
	try 0 login_with_stdin secret
	try 0 a3s-box pull "$A3S_REGISTRY_AUTH/busybox"
	try 0 a3s-box logout "$A3S_REGISTRY_AUTH"
	try 0 a3s-box rmi "$A3S_REGISTRY_AUTH/busybox"
	try "1|125" a3s-box pull "$A3S_REGISTRY_AUTH/busybox"
	try 0 a3s-box images -q
	same "$(sort -u <<<"$out" | wc -l)" 2
}

login_with_stdin() {
	echo "$1" | timeout "$A3S_LIMIT" a3s-box login -u tester --password-stdin "$A3S_REGISTRY_AUTH" 3>&-
}

@test "I01: the right platform of an index" {
	local work=$A3S_T/multi
	mkdir -p "$work/root/bin"
	echo wrong >"$work/root/wrong"
	"$A3S_TESTS/../scripts/oci.py" tree "$work/root.tar" "$work/root"
	"$A3S_TESTS/../scripts/oci.py" image "$work/arm" --arch arm64 --layer "$work/root.tar"
	"$A3S_TESTS/../scripts/oci.py" index "$work/index" latest "$work/arm" "$A3S_LAYOUT_busybox"
	skopeo --insecure-policy copy -q --all --dest-tls-verify=false "oci:$work/index:latest" "docker://$A3S_REGISTRY/multi:latest" 3>&-
	try 0 a3s-box pull "$A3S_REGISTRY/multi"
	try 0 a3s-box inspect "$A3S_REGISTRY/multi"
	same "$(jq -r '.[0].Architecture' <<<"$out")" amd64
	same "$(a3s-box images -q --no-trunc "$A3S_REGISTRY/multi")" "$(a3s-box images -q --no-trunc "$A3S_REGISTRY/busybox")"
	try 0 a3s-box rmi "$A3S_REGISTRY/multi"
}

@test "I01: a registry that is down, an unknown image, an unknown tag: one line, nothing stored" {
	local before
	before=$(find "$A3S_HOME/images" | sort)
	try "1|125" a3s-box pull 127.0.0.1:1/busybox
	complains "127.0.0.1:1"
	try "1|125" a3s-box pull "$A3S_REGISTRY/nothing"
	complains "$A3S_REGISTRY/nothing"
	try "1|125" a3s-box pull "$A3S_REGISTRY/busybox:nothing"
	complains "nothing"
	try 125 a3s-box pull 'Bad/Name:x y'
	complains "Bad/Name"
	same "$(find "$A3S_HOME/images" | sort)" "$before"
}

# Every form of archive gives the same image.
loads() {
	local archive=$1 want=$2
	shift 2
	try 0 a3s-box load -i "$archive"
	like "$out" "^Loaded image: $want"
	if [ $# -gt 0 ]; then
		try 0 a3s-box inspect "$want"
		same "$(jq -r '.[0].Id' <<<"$out")" "$1"
		try 0 a3s-box rmi "$want"
	fi
}

@test "I02: load: docker-archive, oci-archive, OCI directory, gzip, zstd, xz, standard input" {
	local work=$A3S_T/load id copy="skopeo --insecure-policy copy -q"
	mkdir "$work"
	id=sha256:$(jq -r '.manifests[0].digest' "$A3S_LAYOUT_busybox/index.json" | cut -d : -f 2 | xargs -I{} jq -r .config.digest "$A3S_LAYOUT_busybox/blobs/sha256/{}" | cut -d : -f 2)
	$copy "oci:$A3S_LAYOUT_busybox:latest" "docker-archive:$work/docker.tar:example/one:v1" 3>&-
	# skopeo writes docker's layers uncompressed, which keeps the configuration and so the id
	loads "$work/docker.tar" example/one:v1 "$id"
	$copy "oci:$A3S_LAYOUT_busybox:latest" "oci-archive:$work/oci.tar:example/two:v2" 3>&-
	loads "$work/oci.tar" example/two:v2 "$id"
	gzip -1 -k "$work/docker.tar"
	loads "$work/docker.tar.gz" example/one:v1 "$id"
	zstd -q "$work/oci.tar"
	loads "$work/oci.tar.zst" example/two:v2 "$id"
	xz -0 -k "$work/docker.tar"
	loads "$work/docker.tar.xz" example/one:v1 "$id"
	cp -r "$A3S_LAYOUT_busybox" "$work/dir"
	try 0 a3s-box load -i "$work/dir"
	like "$out" "^Loaded image"
	loads "$A3S_BUILD/demo/hello.tar" a3s/hello:latest
	try 0 a3s-box rmi a3s/hello
	timeout "$A3S_LIMIT" a3s-box load <"$work/docker.tar" >"$A3S_T/out" 3>&-
	like "$(cat "$A3S_T/out")" "^Loaded image: example/one:v1"
	try 0 a3s-box run --rm example/one:v1 echo loaded
	same "$out" loaded
}

@test "I02: what is no image is refused, and nothing is left" {
	local before
	before=$(find "$A3S_HOME/images" | sort)
	head -c 100000 /dev/urandom >"$A3S_T/noise"
	try "1|125" a3s-box load -i "$A3S_T/noise"
	complains "noise"
	try "1|125" a3s-box load -i "$A3S_T/not-there"
	complains "not-there"
	head -c 200000 "$A3S_T/load/docker.tar" >"$A3S_T/cut.tar"
	try "1|125" a3s-box load -i "$A3S_T/cut.tar"
	complains "cut.tar"
	same "$(find "$A3S_HOME/images" | sort)" "$before"
}

@test "I05: a layer that two images share is stored once; tag, rmi, images in use" {
	same "$(find "$A3S_HOME/images/layers" -name '*.squashfs' | wc -l)" 2
	try 0 a3s-box tag "$A3S_REGISTRY/probe" mine:v1
	try 0 a3s-box create --name holder mine:v1 true
	try "1|2" a3s-box rmi "$A3S_REGISTRY/probe" mine:v1
	like "$err" holder
	try 0 a3s-box rm holder
	try any a3s-box rmi mine:v1
	try any a3s-box rmi "$A3S_REGISTRY/probe"
	try 1 a3s-box inspect mine:v1
	same "$(find "$A3S_HOME/images/layers" -name '*.squashfs' | wc -l)" 1
	try 1 a3s-box rmi nosuch
	complains nosuch
}

@test "README's registry serves nginx, says where, and stops" {
	local port script=$A3S_TESTS/../scripts/registry.sh
	port=$(free_port)
	export A3S_REGISTRY_DIR=$A3S_T/registry
	try 1 "$script" stop
	same "$err" "registry: none is running"
	try 0 "$script" start "$port"
	like "$out" "^registry: 127.0.0.1:$port/nginx:latest is served by process [0-9]+; "
	try 1 "$script" start "$port"
	like "$err" "runs already"
	try any a3s-box pull -q "127.0.0.1:$port/nginx"
	same "$status $out" "0 127.0.0.1:$port/nginx:latest" || { "$script" stop && false; }
	try 0 "$script" stop
	try 7 curl -s "http://127.0.0.1:$port/v2/" # refused
	try 0 a3s-box rmi "127.0.0.1:$port/nginx"
}

@test "services: redis from its package answers" {
	try 0 a3s-box run -d --name redis "$A3S_REGISTRY/redis"
	wait_for "$A3S_LIMIT" a3s-box exec redis redis-cli ping
	try 0 a3s-box exec redis redis-cli set key value
	try 0 a3s-box exec redis redis-cli get key
	same "$out" value
	try 0 a3s-box exec redis id -un
	same "$out" redis
	try 0 a3s-box exec -u root redis sh -c 'id -un; grep ^Uid /proc/1/status'
	like "$out" "^root"
	unlike "$out" "Uid:.0"
	try 0 a3s-box rm -f redis
}

@test "services: postgres makes its cluster, answers, keeps its data over a restart" {
	try 0 a3s-box run -d --name pg -m 512m "$A3S_REGISTRY/postgres"
	log_line pg 'ready to accept connections'
	wait_for "$A3S_LIMIT" a3s-box exec pg psql -U postgres -c 'select 1'
	try 0 a3s-box exec pg psql -U postgres -c 'create table t (n int)' -c 'insert into t select generate_series(1, 1000)'
	try 0 a3s-box stop pg
	try 0 a3s-box start pg
	wait_for "$A3S_LIMIT" a3s-box exec pg psql -U postgres -c 'select 1'
	try 0 a3s-box exec pg psql -U postgres -At -c 'select sum(n) from t'
	same "$out" 500500
	try 0 a3s-box rm -f pg
}
