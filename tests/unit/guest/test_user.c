/* SPDX-License-Identifier: Apache-2.0 */
/* C07: users and groups as the box's own files name them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/own.h"
#include "guest/user.h"

#include <cmocka.h> /* last: its fail() is a macro */

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "daemon:x:1:1::/usr/sbin:\n"
			     "broken line\n"
			     "nobody:x:65534:65534::/nonexistent:\n"
			     ":x:5:5::/none:\n"
			     "big:x:4294967294:70000::/big:\n"
			     "wrong:x:4294967295:0::/:\n"
			     "1000:x:7:7::/seven:\n"
			     "www:x:33:33:www:/var/www:/bin/sh";
static const char group[] = "root:x:0:\n"
			    "adm:x:4:www,root\n"
			    "tty:x:5:nobody,www\n"
			    "none\n"
			    "www:x:33:\n"
			    "docker:x:999:wwwx\n";

static const struct {
	const char *wanted;
	int result;
	uid_t uid;
	gid_t gid;
	size_t n_groups;
	const char *home;
} cases[] = {
	{ "", 0, 0, 0, 1, "/root" },
	{ "root", 0, 0, 0, 1, "/root" },
	{ "0", 0, 0, 0, 1, "/root" },
	{ "www", 0, 33, 33, 2, "/var/www" },
	{ "33", 0, 33, 33, 2, "/var/www" },
	{ "www:tty", 0, 33, 5, 0, "/var/www" },
	{ "www:4242", 0, 33, 4242, 0, "/var/www" },
	{ "www:", 0, 33, 33, 2, "/var/www" },
	{ ":tty", 0, 0, 5, 0, "/root" },
	{ "4711", 0, 4711, 0, 0, "/" },
	{ "4711:4712", 0, 4711, 4712, 0, "/" },
	{ "1000", 0, 7, 7, 0, "/seven" },
	{ "big", 0, 4294967294u, 70000, 0, "/big" },
	{ "wrong", -1, 0, 0, 0, NULL },
	{ "broken line", -1, 0, 0, 0, NULL },
	{ "ww", -1, 0, 0, 0, NULL },
	{ "www:nosuch", -1, 0, 0, 0, NULL },
	{ "-1", -1, 0, 0, 0, NULL },
	{ "4294967295", -1, 0, 0, 0, NULL },
};

static void names_and_numbers_are_found(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct failure f = { 0 };
		struct user user;

		assert_int_equal(user_resolve(passwd, group, cases[i].wanted, &user, &f), cases[i].result);
		if (cases[i].result < 0) {
			assert_int_equal(f.code, EXIT_NOT_RUNNABLE);
			continue;
		}
		assert_int_equal(user.uid, cases[i].uid);
		assert_int_equal(user.gid, cases[i].gid);
		assert_int_equal(user.n_groups, cases[i].n_groups);
		assert_string_equal(user.home, cases[i].home);
	}
}

static void an_image_without_files_has_root(void **state)
{
	struct failure f = { 0 };
	struct user user;

	assert_int_equal(user_resolve("", "", "", &user, &f), 0);
	assert_int_equal(user.uid, 0);
	assert_string_equal(user.home, "/");
	assert_int_equal(user_resolve("", "", "root", &user, &f), -1);
	assert_string_equal(f.text, "unable to find user root: no matching entries in passwd file");
}

static void groups_beyond_the_limit_are_left_out(void **state)
{
	_cleanup_free_ char *many = calloc(1000, 32);
	struct failure f = { 0 };
	struct user user;
	size_t n = 0;

	for (int i = 0; i < 1000; i++)
		n += (size_t)sprintf(many + n, "g%d:x:%d:www\n", i, i + 100);
	assert_int_equal(user_resolve(passwd, many, "www", &user, &f), 0);
	assert_int_equal(user.n_groups, USER_GROUPS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_numbers_are_found),
		cmocka_unit_test(an_image_without_files_has_root),
		cmocka_unit_test(groups_beyond_the_limit_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
