#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: deps.sh PURPOSE...	(build run test bench check: the lists in scripts/packages)
#
# Install what is missing, and touch nothing when nothing is: then neither apt nor sudo is called.
set -eu

die() {
	echo "deps: $*" >&2
	exit 1
}

lists=$(dirname "$0")/packages
missing=
for purpose; do
	[ -f "$lists/$purpose.txt" ] || die "no list $lists/$purpose.txt"
	for package in $(sed 's/#.*//' "$lists/$purpose.txt" | awk 'NF { print $1 }'); do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
		[ "$status" = installed ] || missing="$missing $package"
	done
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install$missing"
	root=sudo
fi
apt() {
	# shellcheck disable=SC2086 # empty or "sudo"
	$root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}
# The lists of a fresh machine are empty, those of an old one name versions that are gone.
# shellcheck disable=SC2086 # a list of words
install() {
	apt install -y --no-install-recommends $missing
}
# shellcheck disable=SC2086
apt install -s --no-install-recommends $missing >/dev/null 2>&1 && install && exit 0
apt update || die "apt-get update failed"
install || die "cannot install$missing"
