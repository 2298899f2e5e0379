# shellcheck shell=bash disable=SC2034,SC2154 # read by build.sh, which sets guest_programs
# What `make bench` runs in guests: nginx, iperf3, netbench and a file to send.
packages="nginx-light iperf3"
needs="gcc libc6-dev"
inputs="$guest_programs/netbench.c"
config='{"Cmd":["nginx","-g","daemon off;"],"ExposedPorts":{"80/tcp":{}},
"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'

customize() {
	gcc -O2 -D_GNU_SOURCE -static -pthread -o "$1/usr/local/bin/netbench" "$guest_programs/netbench.c"
	sed -i 's,access_log .*,access_log off;,' "$1/etc/nginx/nginx.conf"
	echo "a page of sixty-four bytes, for measuring requests per second.." >"$1/var/www/html/64.txt"
	head -c 268435456 /dev/zero >"$1/srv/256m"
}
