/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "resolver/servers.h"

static void assert_server(const struct servers *s, unsigned i, const char *expect)
{
	char text[INET6_ADDRSTRLEN];
	const union server *server = &s->list[i];

	assert_true(i < s->n);
	inet_ntop(server->any.sa_family, server->any.sa_family == AF_INET ? (const void *)&server->v4.sin_addr : &server->v6.sin6_addr,
		  text, sizeof(text));
	assert_string_equal(text, expect);
	assert_int_equal(ntohs(server->v4.sin_port), s->port);
}

static void test_addresses(void **state)
{
	const char *const bad[] = { "", "example.org", "1.2.3", "1.2.3.4.5", "1.2.3.4%lo", "::1::", "fe80::1%", "fe80::1%no-such-interface",
				    "fe80::1%0", "fe80::1%an-interface-with-a-name-that-is-far-too-long" };
	struct servers s;

	servers_init(&s, NULL, 53);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(servers_add(&s, bad[i]), -EINVAL);
	assert_int_equal(s.n, 0);
	assert_int_equal(servers_add(&s, "127.0.0.53"), 0);
	assert_int_equal(servers_add(&s, "fe80::1%lo"), 0);
	assert_int_equal(servers_add(&s, "2001:db8::1"), 0);
	assert_int_equal(servers_add(&s, "9.9.9.9"), 0); /* a fourth is not asked */
	assert_int_equal(s.n, RESOLVER_SERVERS_MAX);
	assert_server(&s, 0, "127.0.0.53");
	assert_server(&s, 1, "fe80::1");
	assert_int_equal(s.list[1].v6.sin6_scope_id, 1);
	assert_server(&s, 2, "2001:db8::1");
	servers_refresh(&s);
	assert_int_equal(s.n, RESOLVER_SERVERS_MAX);
}

/* D11: addresses that lead back to ourselves are never asked. */
static void test_own_addresses(void **state)
{
	const char *const own[] = { "192.0.0.8", "192.0.0.9", "192.0.0.10", "::ffff:192.0.0.9" };
	struct servers s;

	servers_init(&s, NULL, 53);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		assert_int_equal(servers_add(&s, own[i]), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(servers_add(&s, "192.0.0.7"), 0);
	assert_int_equal(servers_add(&s, "192.0.0.11"), 0);
	assert_int_equal(s.n, 2);
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[PATH_MAX];

	assert_int_equal(io_path(path, sizeof(path), "%s/%s", directory, name), 0);
	assert_int_equal(io_replace_file(path, text, strlen(text), 0600), 0);
}

static void make_link(const char *directory, const char *target)
{
	char path[PATH_MAX], temporary[PATH_MAX];

	io_path(path, sizeof(path), "%s/resolv.conf", directory);
	io_path(temporary, sizeof(temporary), "%s/new", directory);
	assert_int_equal(symlink(target, temporary), 0);
	assert_int_equal(rename(temporary, path), 0);
}

/* D11: the file as it is now, through links, replacement, absence. */
static void test_file_changes(void **state)
{
	char directory[] = "/tmp/test-resolver-XXXXXX", path[PATH_MAX];
	struct servers s;

	assert_non_null(mkdtemp(directory));
	io_path(path, sizeof(path), "%s/resolv.conf", directory);
	servers_init(&s, path, 53);
	servers_refresh(&s);
	assert_int_equal(s.n, 1);
	assert_server(&s, 0, "127.0.0.1"); /* no file */

	write_file(directory, "a",
		   "# nameserver 1.1.1.1\n; nameserver 1.1.1.2\n nameserver 1.1.1.3\nnameservers 1.1.1.4\nsearch example\n"
		   "nameserver nonsense\nnameserver\t192.0.0.9 \nnameserver\nnameserver  10.0.0.1 # trailing\r\nnameserver 10.0.0.2\r\nnameserver ::1");
	write_file(directory, "b", "nameserver 10.0.0.9\n");
	make_link(directory, "a");
	servers_refresh(&s);
	assert_int_equal(s.n, 3);
	assert_server(&s, 0, "10.0.0.1");
	assert_server(&s, 1, "10.0.0.2");
	assert_server(&s, 2, "::1");
	make_link(directory, "b");
	servers_refresh(&s);
	assert_int_equal(s.n, 1);
	assert_server(&s, 0, "10.0.0.9");
	write_file(directory, "b", "nameserver 10.0.0.8\n"); /* same size, within the same tick of the clock */
	servers_refresh(&s);
	assert_server(&s, 0, "10.0.0.8");
	write_file(directory, "b", "search example\n");
	servers_refresh(&s);
	assert_server(&s, 0, "127.0.0.1");
	io_remove_tree(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_own_addresses),
		cmocka_unit_test(test_file_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
