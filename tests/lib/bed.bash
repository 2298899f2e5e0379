# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The test bed: the product runs in a network of its own, with an outside to talk to.
#
#	 product                                                outside
#	+---------------------------+                  +--------------------------------------+
#	| lo                        |                  |  lo   198.51.100.7  2001:db8:7::7     |
#	|                           |                  |       198.51.100.8  (a second one)    |
#	|  p0  10.77.0.1/24         |------ veth ------|  o0   10.77.0.2/24  fd77::2/64        |
#	|      fd77::1/64           |                  |       198.51.100.53, .54, .55  (dns)  |
#	|  default via 10.77.0.2    |                  |                                      |
#	|          and fd77::2      |                  |  198.51.100.66   swallowed           |
#	|  192.0.2.0/24 no route    |                  |  198.51.100.98   sent back           |
#	|  /etc is its own copy     |                  |  198.51.100.99   "host unreachable"  |
#	|                           |                  |  outside.py: all its servers         |
#	+---------------------------+                  +--------------------------------------+
#
# Root makes the namespaces as they are; an ordinary user in a user namespace, and the product then runs under the user's
# own id in a further one. Nothing has a name: both namespaces end with the processes that hold them, and these end when
# their standard input does, which is when the test file ends, however it ends.

BED_INSIDE4=10.77.0.1
BED_OUTSIDE4=198.51.100.7
BED_OUTSIDE6=2001:db8:7::7
BED_NEXT4=10.77.0.2

# Tests themselves, and what they start, do not hold the bed up.
[ -z "${BATS_TEST_NUMBER:-}" ] || [ -z "${BED_ALIVE:-}" ] || exec {BED_ALIVE}>&-

# Can namespaces be made here? Says why not.
bed_possible() {
	if [ "$(id -u)" = 0 ]; then
		unshare -n -m true 2>&1
	else
		unshare -Ur -n -m unshare -U --map-user="$(id -u)" true 2>&1
	fi
}

# bed_hold FIFO-NAME COMMAND...: a process in namespaces made by COMMAND, alive as long as BED_ALIVE is open
bed_hold() {
	local ready=$BATS_FILE_TMPDIR/$1 pid
	shift
	"$@" sh -c 'echo $$ >"$1.new"; mv "$1.new" "$1"; exec cat >/dev/null' sh "$ready" <"$BED_PIPE" 3>&- {BED_ALIVE}>&- &
	wait_for 10 test -s "$ready"
	read -r pid <"$ready"
	echo "$pid"
}

# Process ids are as seen here: only user, mount and network namespaces are made, never pid namespaces.
bed_up() {
	local user=()
	BED_PIPE=$BATS_FILE_TMPDIR/alive
	mkfifo "$BED_PIPE"
	exec {BED_ALIVE}<>"$BED_PIPE"
	if [ "$(id -u)" = 0 ]; then
		BED_OUTSIDE=$(bed_hold outside.pid unshare -n -m)
		BED_PRODUCT=$(bed_hold product.pid unshare -n -m)
	else
		user=(-U --preserve-credentials)
		BED_OUTSIDE=$(bed_hold outside.pid unshare -Ur -n -m)
		BED_PRODUCT=$(bed_hold product.pid nsenter -t "$BED_OUTSIDE" "${user[@]}" unshare -n -m)
	fi
	BED_ENTER_OUTSIDE="nsenter -t $BED_OUTSIDE ${user[*]} -n -m"
	BED_ENTER_ROOT="nsenter -t $BED_PRODUCT ${user[*]} -n -m"
	BED_ENTER_PRODUCT=$BED_ENTER_ROOT
	[ "$(id -u)" = 0 ] || BED_ENTER_PRODUCT+=" unshare -U --map-user=$(id -u) --map-group=$(id -g)"
	BED_ETC=$BATS_FILE_TMPDIR/etc
	export BED_PIPE BED_OUTSIDE BED_PRODUCT BED_ENTER_OUTSIDE BED_ENTER_PRODUCT BED_ENTER_ROOT BED_ETC BED_ALIVE
	bed_configure_outside && bed_configure_product
	BED_LOG=$BATS_FILE_TMPDIR/outside.log
	export BED_LOG
	in_outside "$A3S_TESTS/lib/outside.py" serve $BED_OUTSIDE4 198.51.100.8 $BED_OUTSIDE6 $BED_NEXT4 >"$BED_LOG" 2>&1 <"$BED_PIPE" 3>&- {BED_ALIVE}>&- &
	in_outside "$A3S_TESTS/lib/outside.py" dns 10.77.0.2 fd77::2 198.51.100.53 198.51.100.54 >"$BED_LOG.dns" 2>&1 <"$BED_PIPE" 3>&- {BED_ALIVE}>&- &
	wait_for 20 grep -q '^ready$' "$BED_LOG" || { cat "$BED_LOG"; return 1; }
	wait_for 20 grep -q '^ready$' "$BED_LOG.dns" || { cat "$BED_LOG.dns"; return 1; }
}

bed_configure_outside() {
	in_outside sh -e <<-X
		ip link set lo up
		ip link add o0 type veth peer name p0 netns $BED_PRODUCT
		ip addr add 10.77.0.2/24 dev o0
		ip addr add fd77::2/64 dev o0 nodad
		ip link set o0 up
		for a in 7 8 53 54 55; do ip addr add 198.51.100.\$a/32 dev lo; done
		ip addr add $BED_OUTSIDE6/128 dev lo nodad
		ip route add blackhole 198.51.100.66
		ip route add 198.51.100.98 via 10.77.0.1
		ip route add unreachable 198.51.100.99
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 0 >/proc/sys/net/ipv4/icmp_ratelimit 2>/dev/null || true
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	X
}

bed_configure_product() {
	mkdir "$BED_ETC"
	cp -a /etc/. "$BED_ETC/" 2>/dev/null || true
	bed_resolv "nameserver 10.77.0.2"
	in_product_root sh -e <<-X
		ip link set lo up
		ip addr add $BED_INSIDE4/24 dev p0
		ip addr add fd77::1/64 dev p0 nodad
		ip link set p0 up
		ip route add default via 10.77.0.2
		ip -6 route add default via fd77::2
		ip route add throw 192.0.2.0/24
		mount --make-rprivate /
		mount --bind "$BED_ETC" /etc
		for range in "0 2147483647" "0 0"; do # of a user namespace only its own group is there
			echo "\$range" >/proc/sys/net/ipv4/ping_group_range 2>/dev/null && break
		done || true
	X
}

# Replace the product's resolv.conf, the way programs do: a new file takes the name.
bed_resolv() {
	rm -f "$BED_ETC/resolv.conf.new"
	printf '%s\n' "$@" >"$BED_ETC/resolv.conf.new"
	mv "$BED_ETC/resolv.conf.new" "$BED_ETC/resolv.conf"
}

in_outside() {
	# shellcheck disable=SC2086 # a command line
	$BED_ENTER_OUTSIDE env -C "$PWD" "$@"
}

# As whoever owns the namespaces: for changing routes and addresses.
in_product_root() {
	# shellcheck disable=SC2086
	$BED_ENTER_ROOT env -C "$PWD" "$@"
}

# As the user of the product.
in_product() {
	# shellcheck disable=SC2086
	$BED_ENTER_PRODUCT env -C "$PWD" "$@"
}

# Wait until the outside has seen a line that matches.
bed_saw() {
	wait_for "$1" grep -qE "$2" "$BED_LOG" && return 0
	echo "the outside never saw /$2/; it saw:"
	tail -n 20 "$BED_LOG"
	return 1
}

bed_down() {
	[ -z "${BED_ALIVE:-}" ] && return 0
	exec {BED_ALIVE}>&-
	unset BED_ALIVE
	wait_for 10 bed_gone
}

# A zombie has no namespaces any more.
bed_gone() {
	! readlink "/proc/$BED_OUTSIDE/ns/net" && ! readlink "/proc/$BED_PRODUCT/ns/net"
}
