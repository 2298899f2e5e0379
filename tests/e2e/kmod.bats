#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
# The kernel module by itself, in a bare guest in which threads of the test stand in for the host (kmod/run.sh).

load ../lib/common

setup_file() {
	file_begin empty
}

teardown_file() {
	file_end
}

@test "T02-T14 T17 T18 T20 T22: the module in a bare guest, with a stand-in for the host" {
	A3S_LIMIT=600
	try any "$A3S_TESTS/e2e/kmod/run.sh" "$A3S_TESTS/../.cache/kernel" "$A3S_BUILD/src/guest/tsi.ko"
	unlike "$out" "not ok"
	like "$out" "tsi: [0-9]+ passed, 0 failed"
}
