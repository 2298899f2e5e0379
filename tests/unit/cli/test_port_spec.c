/* SPDX-License-Identifier: Apache-2.0 */
/* P01: the grammar of published ports, each valid and invalid form. P03: what collides. */
#include "cli/port_spec.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "test.h"

/* address|host-port[-last]|box-port|protocol of the first mapping, and how many there are */
static const struct {
	const char *spec, *address;
	unsigned host, last, box;
	enum box_protocol protocol;
	size_t n;
} valid[] = {
	{ "80", "", 0, 0, 80, BOX_TCP, 1 },
	{ "80/tcp", "", 0, 0, 80, BOX_TCP, 1 },
	{ "80/TCP", "", 0, 0, 80, BOX_TCP, 1 },
	{ "53/udp", "", 0, 0, 53, BOX_UDP, 1 },
	{ "8080:80", "", 8080, 0, 80, BOX_TCP, 1 },
	{ "0:80", "", 0, 0, 80, BOX_TCP, 1 },
	{ ":80", "", 0, 0, 80, BOX_TCP, 1 },
	{ "::80", "", 0, 0, 80, BOX_TCP, 1 },
	{ "5353:53/UDP", "", 5353, 0, 53, BOX_UDP, 1 },
	{ "127.0.0.1:8080:80", "127.0.0.1", 8080, 0, 80, BOX_TCP, 1 },
	{ "127.0.0.1::80", "127.0.0.1", 0, 0, 80, BOX_TCP, 1 },
	{ "0.0.0.0:8080:80", "0.0.0.0", 8080, 0, 80, BOX_TCP, 1 },
	{ "[::1]:8080:80", "::1", 8080, 0, 80, BOX_TCP, 1 },
	{ "[::1]::80", "::1", 0, 0, 80, BOX_TCP, 1 },
	{ "::1:8080:80", "::1", 8080, 0, 80, BOX_TCP, 1 },
	{ "[::]:8080:80", "::", 8080, 0, 80, BOX_TCP, 1 },
	{ "[2001:DB8:0:0::1]:8080:80", "2001:db8::1", 8080, 0, 80, BOX_TCP, 1 },
	{ "8000-8002:80-82", "", 8000, 0, 80, BOX_TCP, 3 },
	{ "8000-8010:80", "", 8000, 8010, 80, BOX_TCP, 1 },
	{ "80-82", "", 0, 0, 80, BOX_TCP, 3 },
	{ "127.0.0.1:8000-8001:80-81/udp", "127.0.0.1", 8000, 0, 80, BOX_UDP, 2 },
	{ "80-80", "", 0, 0, 80, BOX_TCP, 1 },
	{ "1-10000:1-10000", "", 1, 0, 1, BOX_TCP, 10000 },
	{ "1-65535", "", 0, 0, 1, BOX_TCP, 65535 },
	{ "65535:65535", "", 65535, 0, 65535, BOX_TCP, 1 },
};

static void valid_forms_are_read(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
		_cleanup_free_ struct box_port *ports = NULL;
		struct failure f = { 0 };
		size_t n = 0;

		if (port_spec_parse(valid[i].spec, &ports, &n, &f) < 0)
			fail_msg("%s: %s", valid[i].spec, f.text);
		assert_int_equal(n, valid[i].n);
		assert_string_equal(ports[0].host_address, valid[i].address);
		assert_int_equal(ports[0].host_port, valid[i].host);
		assert_int_equal(ports[0].host_port_last, valid[i].last);
		assert_int_equal(ports[0].guest_port, valid[i].box);
		assert_int_equal(ports[0].protocol, valid[i].protocol);
		assert_int_equal(ports[n - 1].guest_port, valid[i].box + n - 1);
		/* also in no time that grows with the square */
		assert_int_equal(port_spec_check(ports, n, &f), 0);
	}
}

static const char *const invalid[] = {
	"",	    ":",	"8080:",      "a",	   "80a",	 "+80",	      " 80",	     "80 ",	   "0",		"65536",
	"100000",   "-1",	"80-",	      "-80",	   "90-80",	 "80-82-84",  "8080:0",	     "0-5:80",	   "8000-8001:80-82",
	"8000:80-81", "80/",	"80/tcp/udp", "80/icmp",   "80/sctp",	 "localhost:80:80", "1.2.3:80:80", "1.2.3.4:80", "[::1]:80",
	"[::1:80:80", "::1]:80:80", "[127.0.0.1]:80:80", "fe80::1%eth0:80:80", "1:2:3:4", "80:80:80",   "999.1.1.1:80:80",
	"0x50:80", "8080:80:tcp", "--",		"9090-9089:90-89",
};

static void invalid_forms_are_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		_cleanup_free_ struct box_port *ports = NULL;
		struct failure f = { 0 };
		size_t n = 0;

		if (port_spec_parse(invalid[i], &ports, &n, &f) == 0)
			fail_msg("\"%s\" was accepted", invalid[i]);
		assert_int_equal(f.code, EXIT_USAGE);
		assert_int_equal(n, 0);
		assert_non_null(strstr(f.text, "invalid port"));
	}
}

static void same_mapping_counts_once(void **state)
{
	_cleanup_free_ struct box_port *ports = NULL;
	struct failure f = { 0 };
	size_t n = 0;

	assert_int_equal(port_spec_parse("8080:80", &ports, &n, &f), 0);
	assert_int_equal(port_spec_parse("8080:80/tcp", &ports, &n, &f), 0);
	assert_int_equal(n, 1);
	assert_int_equal(port_spec_check(ports, n, &f), 0);
	assert_int_equal(port_spec_parse("8080:80/udp", &ports, &n, &f), 0);
	assert_int_equal(port_spec_check(ports, n, &f), 0);
	assert_int_equal(port_spec_parse("8080:81", &ports, &n, &f), 0);
	assert_int_equal(port_spec_check(ports, n, &f), -1);
	assert_int_equal(f.code, EXIT_USAGE);
	assert_non_null(strstr(f.text, "8080"));
}

static const struct {
	const char *one, *other;
	bool collide;
} pairs[] = {
	{ "8080:80", "8080:81", true },
	{ "8080:80", "8081:80", false },
	{ "8080:80", "127.0.0.1:8080:80", true },
	{ "8080:80", "[::1]:8080:80", true },
	{ "0.0.0.0:8080:80", "[::]:8080:80", false },
	{ "0.0.0.0:8080:80", "[::1]:8080:80", false },
	{ "127.0.0.1:8080:80", "127.0.0.2:8080:80", false },
	{ "127.0.0.1:8080:80", "127.0.0.1:8080:81", true },
	{ "127.0.0.1:8080:80", "0.0.0.0:8080:81", true },
	{ "8080:80/udp", "8080:80/tcp", false },
	{ "80", "80", false },
};

static void collisions_are_seen(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_free_ struct box_port *one = NULL, *other = NULL;
		size_t n = 0, m = 0;
		struct failure f = { 0 };

		assert_int_equal(port_spec_parse(pairs[i].one, &one, &n, &f), 0);
		assert_int_equal(port_spec_parse(pairs[i].other, &other, &m, &f), 0);
		if (box_ports_collide(one, other) != pairs[i].collide || box_ports_collide(other, one) != pairs[i].collide)
			fail_msg("%s and %s", pairs[i].one, pairs[i].other);
	}
}

/* P11 */
static void exposed_ports_are_read(void **state)
{
	static const struct {
		const char *text;
		unsigned first, last;
		enum box_protocol protocol;
	} table[] = {
		{ "80", 80, 80, BOX_TCP },	{ "53/udp", 53, 53, BOX_UDP },	  { "8000-8010", 8000, 8010, BOX_TCP },
		{ "1-65535/UDP", 1, 65535, BOX_UDP }, { "8080:80", 0, 0, BOX_TCP }, { "0", 0, 0, BOX_TCP },
		{ "90-80", 0, 0, BOX_TCP },	{ "80/sctp", 0, 0, BOX_TCP },	  { "", 0, 0, BOX_TCP },
		{ "http", 0, 0, BOX_TCP },	{ "127.0.0.1::80", 0, 0, BOX_TCP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum box_protocol protocol = BOX_TCP;
		struct failure f = { 0 };
		uint16_t first, last;
		int r = port_spec_parse_range(table[i].text, &protocol, &first, &last, &f);

		if (r != (table[i].first ? 0 : -1) || (r < 0 && f.code != EXIT_USAGE))
			fail_msg("%s: %d %s", table[i].text, r, f.text);
		assert_int_equal(first, table[i].first);
		assert_int_equal(last, table[i].last);
		assert_int_equal(protocol, table[i].protocol);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_forms_are_read),
		cmocka_unit_test(invalid_forms_are_refused),
		cmocka_unit_test(same_mapping_counts_once),
		cmocka_unit_test(collisions_are_seen),
		cmocka_unit_test(exposed_ports_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
