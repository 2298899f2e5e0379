# shellcheck shell=bash disable=SC2034
packages="redis-server redis-tools"
config='{"Entrypoint":["redis-server","--protected-mode","no","--dir","/var/lib/redis"],"ExposedPorts":{"6379/tcp":{}},"User":"redis",
"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'
