# shellcheck shell=bash disable=SC2034
# nginx as a service image has it: in the foreground, logs on stdout and stderr.
packages="nginx-light"
config='{"Cmd":["nginx","-g","daemon off;"],"ExposedPorts":{"80/tcp":{}},"StopSignal":"SIGQUIT",
"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'

customize() {
	ln -sf /dev/stdout "$1/var/log/nginx/access.log"
	ln -sf /dev/stderr "$1/var/log/nginx/error.log"
	head -c 1048576 /dev/zero >"$1/var/www/html/1m"
	echo "a page of sixty-four bytes, for measuring requests per second.." >"$1/var/www/html/64.txt"
}
