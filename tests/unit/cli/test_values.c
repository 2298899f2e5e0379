/* SPDX-License-Identifier: Apache-2.0 */
/* C07: environments and host names as docker reads them. */
#include "cli/values.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/session.h"
#include "test.h"

extern const struct command cmd_exec;
static struct failure f;

static void signals_have_names_and_numbers(void **state)
{
	int n;

	assert_int_equal(value_parse_signal("TERM", &n, &f), 0);
	assert_int_equal(n, SIGTERM);
	assert_int_equal(value_parse_signal("sigkill", &n, &f), 0);
	assert_int_equal(n, SIGKILL);
	assert_int_equal(value_parse_signal("SIGRTMIN+3", &n, &f), 0);
	assert_int_equal(n, SIGRTMIN + 3);
	assert_int_equal(value_parse_signal("10", &n, &f), 0);
	assert_int_equal(n, 10);
	assert_int_equal(value_parse_signal("0", &n, &f), -1);
	assert_int_equal(value_parse_signal("65", &n, &f), -1);
	assert_int_equal(value_parse_signal("NOPE", &n, &f), -1);
	assert_int_equal(value_parse_signal("", &n, &f), -1);
}

static void processors_are_rounded_up(void **state)
{
	unsigned n;

	assert_int_equal(value_parse_cpus("1", 4, &n, &f), 0);
	assert_int_equal(n, 1);
	assert_int_equal(value_parse_cpus("0.5", 4, &n, &f), 0);
	assert_int_equal(n, 1);
	assert_int_equal(value_parse_cpus("1.5", 4, &n, &f), 0);
	assert_int_equal(n, 2);
	assert_int_equal(value_parse_cpus("0", 4, &n, &f), -1);
	assert_int_equal(value_parse_cpus("-1", 4, &n, &f), -1);
	assert_int_equal(value_parse_cpus("5", 4, &n, &f), -1);
	assert_int_equal(value_parse_cpus("inf", 4, &n, &f), -1);
	assert_int_equal(value_parse_cpus("1x", 4, &n, &f), -1);
	assert_int_equal(value_parse_cpus("", 4, &n, &f), -1);
}

static void host_names_are_checked(void **state)
{
	static const char *const good[] = { "a", "web-1", "a.b.c", "3com", "under_score" };
	static const char *const bad[] = { "", "-a", ".a", "a..b", "a b", "a/b", "a.",
					   "0123456789012345678901234567890123456789012345678901234567890123" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(value_check_hostname(good[i], &f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(value_check_hostname(bad[i], &f), -1);
}

static void domains_are_checked(void **state)
{
	static const char *const good[] = { ".", "a", "example.org", "corp.example.org.", "_tcp.lan", "my-lan" };
	static const char *const bad[] = { "", "..", ".a", "a..b", "-a", "a b", "a\n", "a/b", "caf\xe9",
					   "0123456789012345678901234567890123456789012345678901234567890123" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(value_check_domain(good[i], &f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(value_check_domain(bad[i], &f), -1);
}

static void hosts_are_read_in_both_spellings(void **state)
{
	char host[320];

	assert_int_equal(value_parse_host("db:10.0.0.1", host, &f), 0);
	assert_string_equal(host, "db:10.0.0.1");
	assert_int_equal(value_parse_host("db=10.0.0.1", host, &f), 0);
	assert_string_equal(host, "db:10.0.0.1");
	assert_int_equal(value_parse_host("db:[::1]", host, &f), 0);
	assert_string_equal(host, "db:::1");
	assert_int_equal(value_parse_host("db:::1", host, &f), 0);
	assert_string_equal(host, "db:::1");
	assert_int_equal(value_parse_host("me:host-gateway", host, &f), 0);
	assert_int_equal(value_parse_host("db", host, &f), -1);
	assert_int_equal(value_parse_host(":1.2.3.4", host, &f), -1);
	assert_int_equal(value_parse_host("db:nowhere", host, &f), -1);
}

static void later_variables_win(void **state)
{
	char **env = NULL;

	setenv("A3S_TEST_OURS", "ours", 1);
	unsetenv("A3S_TEST_NONE");
	assert_int_equal(value_add_env(&env, "A=1", &f), 0);
	assert_int_equal(value_add_env(&env, "AB=x", &f), 0);
	assert_int_equal(value_add_env(&env, "A=2=3", &f), 0);
	assert_int_equal(value_add_env(&env, "A3S_TEST_OURS", &f), 0);
	assert_int_equal(value_add_env(&env, "A3S_TEST_NONE", &f), 0);
	assert_int_equal(strv_length(env), 3);
	assert_string_equal(value_of(env, "A"), "2=3");
	assert_string_equal(value_of(env, "A3S_TEST_OURS"), "ours");
	unsetenv("A3S_TEST_OURS");
	assert_int_equal(value_add_env(&env, "A3S_TEST_OURS", &f), 0);
	assert_null(value_of(env, "A3S_TEST_OURS"));
	assert_int_equal(value_add_env(&env, "=x", &f), -1);
	strv_free(env);
}

static int read_file(const char *text, char ***env)
{
	char path[] = "/tmp/a3s-env-XXXXXX";
	int fd = mkstemp(path), r;

	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	close(fd);
	r = value_read_env_file(env, path, &f);
	unlink(path);
	return r;
}

static void environment_files_are_literal(void **state)
{
	char **env = NULL;

	assert_int_equal(read_file("\xef\xbb\xbf# comment\n\n  A=\"quoted\" # kept\r\nB=\nA3S_TEST_NONE\n  # more\nC=a b", &env), 0);
	assert_int_equal(strv_length(env), 3);
	assert_string_equal(value_of(env, "A"), "\"quoted\" # kept");
	assert_string_equal(value_of(env, "B"), "");
	assert_string_equal(value_of(env, "C"), "a b");
	assert_int_equal(read_file("A B=1\n", &env), -1);
	assert_non_null(strstr(f.text, ":1: "));
	assert_int_equal(read_file("X=1\n=1\n", &env), -1);
	assert_non_null(strstr(f.text, ":2: "));
	assert_int_equal(value_read_env_file(&env, "/nonexistent", &f), -1);
	strv_free(env);
}

/* A record is JSON: what that cannot hold is refused where it comes in, by name, and never dropped. */
static void only_utf8_text_is_taken(void **state)
{
	_cleanup_free_ char *path = strdup("/tmp/a3s-env-XXXXXX");
	char plain[] = "gr\xc3\xbc\xc3\x9f", bad[] = "\xff\xfe";
	char *words[] = { plain, bad, NULL }, *good[] = { plain, plain + 6, NULL }, **env = NULL;

	assert_int_equal(value_check_text(NULL, &f), 0);
	assert_int_equal(value_check_texts(good, "argument", &f), 0);
	assert_int_equal(value_check_texts(words, "argument", &f), -1);
	assert_string_equal(f.text, "argument 2: \"\\xff\\xfe\" is not UTF-8 text");
	assert_int_equal(f.code, 125);
	assert_int_equal(value_add_env(&env, "A=caf\xe9", &f), -1);
	assert_string_equal(f.text, "\"A=caf\\xe9\" is not UTF-8 text");
	assert_int_equal(setenv("A3S_TEST_LATIN", "caf\xe9", 1), 0);
	assert_int_equal(value_add_env(&env, "A3S_TEST_LATIN", &f), -1);
	close(mkstemp(path));
	assert_int_equal(io_replace_file(path, "OK=1\nA=\xe9\n", 9, 0600), 0);
	assert_int_equal(value_read_env_file(&env, path, &f), -1);
	assert_non_null(strstr(f.text, ":2: \"A=\\xe9\" is not UTF-8 text"));
	unlink(path);
	assert_null(json_from_strv(words));
	strv_free(env);
}

static void times_are_absolute_or_back_from_now(void **state)
{
	int64_t t, now = text_now_ns();

	assert_int_equal(value_parse_time("10m", &t, &f), 0);
	assert_in_range(now + 1000000000 - t, 600000000000, 602000000000);
	assert_int_equal(value_parse_time("1h30m", &t, &f), 0);
	assert_in_range(now + 1000000000 - t, 5400000000000, 5402000000000);
	assert_int_equal(value_parse_time("2026-01-31T12:00:00Z", &t, &f), 0);
	assert_int_equal(t / 1000000000, 1769860800);
	assert_int_equal(value_parse_time("1769860800", &t, &f), 0);
	assert_int_equal(t / 1000000000, 1769860800);
	assert_int_equal(value_parse_time("1769860800.5", &t, &f), 0);
	assert_int_equal(t, 1769860800500000000);
	assert_int_equal(value_parse_time("2026-01-31", &t, &f), 0);
	assert_int_equal(value_parse_time("yesterday", &t, &f), -1);
	assert_int_equal(value_parse_time("", &t, &f), -1);
	assert_int_equal(value_parse_time("10x", &t, &f), -1);
}

static void detach_keys_are_read(void **state)
{
	struct session s;

	assert_int_equal(session_parse_keys(&s, NULL, &f), 0);
	assert_int_equal(s.n_keys, 2);
	assert_int_equal(s.keys[0], 16);
	assert_int_equal(s.keys[1], 17);
	assert_int_equal(session_parse_keys(&s, "ctrl-@,a,ctrl-[", &f), 0);
	assert_int_equal(s.keys[0], 0);
	assert_int_equal(s.keys[1], 'a');
	assert_int_equal(s.keys[2], 27);
	assert_int_equal(session_parse_keys(&s, "ctrl-1", &f), -1);
	assert_int_equal(session_parse_keys(&s, "abc", &f), -1);
	assert_int_equal(session_parse_keys(&s, "", &f), 0);
	assert_int_equal(s.n_keys, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_have_names_and_numbers), cmocka_unit_test(processors_are_rounded_up),
		cmocka_unit_test(host_names_are_checked),	  cmocka_unit_test(hosts_are_read_in_both_spellings),
		cmocka_unit_test(domains_are_checked),
		cmocka_unit_test(later_variables_win),		  cmocka_unit_test(environment_files_are_literal),
		cmocka_unit_test(times_are_absolute_or_back_from_now), cmocka_unit_test(detach_keys_are_read),
		cmocka_unit_test(only_utf8_text_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
