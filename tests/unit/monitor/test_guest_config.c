/* SPDX-License-Identifier: Apache-2.0 */
/* D13 (hosts, resolv.conf), T27 (the box asks the relay, whatever the host's servers are), T28 (host-gateway), C07. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "monitor/guest_config.h"

#include <cmocka.h>

static char hostname[] = "web";
static char *no_strings[] = { NULL };

static struct box_config config_of(enum box_network network)
{
	struct box_config c = BOX_CONFIG_NULL;

	c.network = network;
	c.hostname = hostname;
	c.command = c.env = no_strings;
	return c;
}

static void test_hosts(void **state)
{
	char a[] = "db:10.1.2.3", b[] = "six:[fd00::7]", c[] = "host.docker.internal:host-gateway", d[] = "raw:fd00::8";
	char *extra[] = { a, b, c, d, NULL };
	struct box_config config = config_of(BOX_NETWORK_TSI);
	_cleanup_free_ char *text = NULL;

	config.hosts = extra;
	text = guest_config_hosts(&config);
	assert_non_null(strstr(text, "127.0.0.1\tlocalhost\n::1\tlocalhost"));
	assert_non_null(strstr(text, "\n10.1.2.3\tdb\nfd00::7\tsix\n192.0.0.10\thost.docker.internal\nfd00::8\traw\n192.0.0.8\tweb\n"));
	assert_true(guest_config_wants_host_gateway(&config));
	config.hosts = extra + 3;
	assert_false(guest_config_wants_host_gateway(&config));
}

static void test_resolv_conf(void **state)
{
	static const char host[] = "# comment\nnameserver 127.0.0.53\nsearch example.org  lan\noptions edns0 trust-ad\nsearchx y";
	char search[] = "corp", option[] = "ndots:2", none[] = ".";
	char *searches[] = { search, NULL }, *options[] = { option, NULL }, *nothing[] = { none, NULL };
	struct box_config config = config_of(BOX_NETWORK_TSI);
	char *text = guest_config_resolv_conf(&config, host);

	assert_string_equal(text, "nameserver 192.0.0.9\nsearch example.org  lan\noptions edns0 trust-ad\n");
	free(text);
	config.dns_search = searches;
	config.dns_option = options;
	text = guest_config_resolv_conf(&config, host);
	assert_string_equal(text, "nameserver 192.0.0.9\nsearch corp\noptions ndots:2\n");
	free(text);
	config.dns_search = nothing;
	text = guest_config_resolv_conf(&config, host);
	assert_string_equal(text, "nameserver 192.0.0.9\noptions ndots:2\n");
	free(text);
	config.network = BOX_NETWORK_NONE;
	text = guest_config_resolv_conf(&config, host);
	assert_string_equal(text, "");
	free(text);
}

static void test_configure(void **state)
{
	char a[] = "/run:size=1m", b[] = "/tmp";
	char *tmpfs[] = { a, b, NULL };
	struct box_config config = config_of(BOX_NETWORK_NONE);
	struct guest_facts facts = { .layers = 3, .host_resolv_conf = "" };
	_cleanup_json_ json_t *first = NULL, *second = NULL;

	config.tmpfs = tmpfs;
	first = guest_config_configure(&config, &facts);
	second = guest_config_configure(&config, &facts);
	assert_int_equal(json_int(first, "layers", 0), 3);
	assert_string_equal(json_str(first, "network", ""), "none");
	assert_string_equal(json_str(json_object_get(first, "tmpfs"), "/run", ""), "size=1m");
	assert_string_equal(json_str(json_object_get(first, "tmpfs"), "/tmp", "?"), "");
	assert_int_equal(strlen(json_str(first, "entropy", "")), 128);
	assert_string_not_equal(json_str(first, "entropy", ""), json_str(second, "entropy", ""));
	assert_true(json_int(first, "time_ns", 0) > 1000000000000000000LL);
}

/* A line of the host's resolv.conf that JSON cannot hold must not cost the box its configuration. */
static void test_foreign_resolv_conf(void **state)
{
	struct box_config config = config_of(BOX_NETWORK_TSI);
	struct guest_facts facts = { .layers = 1, .host_resolv_conf = "search caf\xe9.test\n" };
	_cleanup_json_ json_t *request = guest_config_configure(&config, &facts);

	assert_non_null(request);
	assert_string_equal(json_str(request, "resolv_conf", ""), "nameserver 192.0.0.9\nsearch caf?.test\n");
}

static void test_main(void **state)
{
	char *argv[] = { hostname, NULL };
	struct box_config config = config_of(BOX_NETWORK_TSI);
	_cleanup_json_ json_t *request = NULL;

	config.command = argv;
	config.tty = config.open_stdin = true;
	request = guest_config_main(&config, 80, 24);
	assert_string_equal(json_str(request, "op", ""), "main");
	assert_string_equal(json_string_value(json_array_get(json_object_get(request, "argv"), 0)), "web");
	assert_string_equal(json_str(request, "cwd", ""), "/");
	assert_true(json_flag(request, "tty", false));
	assert_true(json_flag(request, "stdin", false));
	assert_int_equal(json_int(request, "rows", 0), 24);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_resolv_conf),
		cmocka_unit_test(test_configure), cmocka_unit_test(test_foreign_resolv_conf),
		cmocka_unit_test(test_main),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
