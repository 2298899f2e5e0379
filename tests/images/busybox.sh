# shellcheck shell=bash disable=SC2034 # read by build.sh
# One static program: shell, httpd, nc, nslookup, wget.
needs=busybox-static
config='{"Cmd":["sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'

tree() {
	mkdir -p "$1"/{bin,etc,tmp,root,var/www,home/user,usr/bin}
	chmod 1777 "$1/tmp"
	cp /bin/busybox "$1/bin/busybox"
	local applet
	for applet in $(/bin/busybox --list); do
		[ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
	done
	ln -s ../../bin/env "$1/usr/bin/env"
	printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$1/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\nstaff:x:50:user\nnogroup:x:65534:\n' >"$1/etc/group"
	echo "not a program" >"$1/root/data"
	echo "hello from a box" >"$1/var/www/index.html"
}
