# shellcheck shell=bash disable=SC2034,SC2154 # read by build.sh, which sets guest_programs
# busybox, and the C programs of tests/guest-programs: static, NAME.c with glibc, NAME-musl.c with musl.
base=busybox
needs="gcc libc6-dev musl-tools"
inputs="$guest_programs/*.c"
config='{"Cmd":["sh"],"Env":["PATH=/usr/local/bin:/usr/bin:/bin","PROBE=yes"],"Labels":{"a3s.test":"probe"},
"ExposedPorts":{"7000/tcp":{},"7001/udp":{}},"StopSignal":"SIGUSR1","WorkingDir":"/work/dir"}'

tree() {
	local source name
	mkdir -p "$1/usr/local/bin"
	for source in "$guest_programs"/*.c; do
		name=$(basename "$source" .c)
		case $name in
		*-musl) musl-gcc -O1 -Wall -static -o "$1/usr/local/bin/$name" "$source" ;;
		*) gcc -O1 -Wall -D_GNU_SOURCE -static -pthread -o "$1/usr/local/bin/$name" "$source" 2>&1 |
			grep -v -e 'statically linked' -e 'in function' || true ;;
		esac
	done
	: >"$1/root-marker"
	mkdir -p "$1/root"
	: >"$1/root/.wh.data" # a whiteout: /root/data of busybox is gone
}
