# shellcheck shell=bash disable=SC2034
# PostgreSQL with an entry point that makes the cluster at first start, then runs the server as its own user.
packages="postgresql-15 postgresql-client-15"
compression=zstd
config='{"Entrypoint":["/usr/local/bin/entrypoint"],"Cmd":["postgres"],"ExposedPorts":{"5432/tcp":{}},"StopSignal":"SIGINT",
"Env":["PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin","PGDATA=/var/lib/postgresql/data","LANG=C.UTF-8"]}'

customize() {
	rm -rf "$1/var/lib/postgresql/15" "$1/usr/lib/llvm-14"
	rm -f "$1"/usr/lib/postgresql/15/lib/llvmjit*
	rm -rf "$1/usr/lib/postgresql/15/lib/bitcode" "$1/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1" "$1"/usr/lib/x86_64-linux-gnu/libz3*
	cat >"$1/usr/local/bin/entrypoint" <<-'X'
		#!/bin/sh
		set -e
		if [ "$1" = postgres ]; then
			mkdir -p "$PGDATA" /run/postgresql
			chown postgres:postgres "$PGDATA" /run/postgresql
			[ -f "$PGDATA/PG_VERSION" ] || {
				setpriv --reuid=postgres --regid=postgres --clear-groups initdb --no-sync -A trust >/dev/null
				echo "host all all all trust" >>"$PGDATA/pg_hba.conf"
			}
			shift
			exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres -c listen_addresses='*' "$@"
		fi
		exec "$@"
	X
	chmod 755 "$1/usr/local/bin/entrypoint"
}
