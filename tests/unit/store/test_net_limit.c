/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a box as they are written, and as a3s-box-vsock is told them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/own.h"
#include "store/net_limit.h"

#include <cmocka.h>

static const struct {
	const char *spec, *name;
	int64_t value; /* 0: refused */
} table[] = {
	{ "connections=1000", "connections", 1000 },
	{ "connections=8", "connections", 8 },
	{ "connections=65536", "connections", 65536 },
	{ "datagrams=1", "datagrams", 1 },
	{ "flows=1048576", "flows", 1048576 },
	{ "listeners=10", "listeners", 10 },
	{ "queued_bytes=64m", "queued_bytes", 64 << 20 },
	{ "connections=7", "connections", 0 },
	{ "connections=65537", "connections", 0 },
	{ "connections=", "connections", 0 },
	{ "connections", "connections", 0 },
	{ "connections=1k", "connections", 0 },
	{ "connections=-1", "connections", 0 },
	{ "queued_bytes=1", "queued_bytes", 0 },
	{ "queued_bytes=9g", "queued_bytes", 0 },
	{ "nofile=1000", "nofile", 0 },
	{ "=1", "", 0 },
	{ "", "", 0 },
};

static void limits_are_read(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *specs[] = { (char *)(uintptr_t)table[i].spec, NULL };
		_cleanup_json_ json_t *json = net_limit_to_json(specs);
		struct failure f = { 0 };
		int r = net_limit_check(table[i].spec, &f);

		if (r != (table[i].value ? 0 : -1) || (r < 0 && f.code != EXIT_USAGE))
			fail_msg("\"%s\": %d %s", table[i].spec, r, f.text);
		assert_int_equal(json_int(json, table[i].name, 0), table[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
