/* SPDX-License-Identifier: Apache-2.0 */
/* C07: options of --tmpfs, and what to run, as the host asks for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>

#include "a3s/agent.h"
#include "base/own.h"
#include "base/text.h"
#include "guest/mounts.h"
#include "guest/spec.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define DEFAULT (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static void tmpfs_options_are_split(void **state)
{
	static const struct {
		const char *options, *rest;
		unsigned long flags;
	} cases[] = {
		{ "", "", DEFAULT },
		{ "size=64m", "size=64m", DEFAULT },
		{ "rw,exec,size=1g,mode=1777", "size=1g,mode=1777", MS_NOSUID | MS_NODEV },
		{ "ro,dev,suid,exec", "", MS_RDONLY },
		{ "exec,noexec,,", "", DEFAULT },
		{ ",,uid=33,noatime,gid=33", "uid=33,gid=33", DEFAULT | MS_NOATIME },
		{ "execs,r", "execs,r", DEFAULT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned long flags;
		char rest[64];

		assert_int_equal(mounts_parse_tmpfs(cases[i].options, &flags, rest, sizeof(rest)), 0);
		assert_string_equal(rest, cases[i].rest);
		assert_int_equal(flags, cases[i].flags);
	}
}

static void tmpfs_options_are_bounded(void **state)
{
	unsigned long flags;
	char rest[8];

	assert_int_equal(mounts_parse_tmpfs("size=10", &flags, rest, sizeof(rest)), 0);
	assert_true(mounts_parse_tmpfs("size=100", &flags, rest, sizeof(rest)) < 0);
	assert_true(mounts_parse_tmpfs("a=1,b=2,c=3", &flags, rest, sizeof(rest)) < 0);
}

static struct spec read_spec(const char *text)
{
	struct spec spec = SPEC_NULL;
	struct failure f = { 0 };
	json_t *request = json_loads(text, 0, NULL);

	assert_non_null(request);
	assert_int_equal(spec_from_json(request, "box1", &spec, &f), 0);
	json_decref(request);
	return spec;
}

static void what_is_not_said_has_dockers_defaults(void **state)
{
	struct spec spec = read_spec("{\"argv\":[\"a\",\"b c\"]}");

	assert_int_equal(strv_length(spec.argv), 2);
	assert_string_equal(spec.cwd, "/");
	assert_string_equal(spec.user, "");
	assert_string_equal(spec_env(&spec, "PATH", ""), AGENT_PATH_DEFAULT);
	assert_string_equal(spec_env(&spec, "HOSTNAME", ""), "box1");
	assert_null(spec_env(&spec, "TERM", NULL));
	assert_false(spec.init || spec.tty || spec.stdin_open || spec.privileged);
	spec_deinit(&spec);
}

static void what_is_said_wins(void **state)
{
	struct spec spec = read_spec("{\"argv\":[\"a\"],\"env\":[\"PATH=/x\",\"TERM=vt100\",\"PATHS=1\",\"HOSTNAME=\"],\"tty\":true,"
				     "\"columns\":70000,\"rows\":-1,\"cwd\":\"/w\",\"user\":\"u\"}");

	assert_int_equal(strv_length(spec.env), 4);
	assert_string_equal(spec_env(&spec, "PATH", ""), "/x");
	assert_string_equal(spec_env(&spec, "HOSTNAME", "no"), "");
	assert_string_equal(spec_env(&spec, "TERM", ""), "vt100");
	assert_int_equal(spec.columns, 0);
	assert_int_equal(spec.rows, 0);
	spec_deinit(&spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tmpfs_options_are_split),
		cmocka_unit_test(tmpfs_options_are_bounded),
		cmocka_unit_test(what_is_not_said_has_dockers_defaults),
		cmocka_unit_test(what_is_said_wins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
