/* SPDX-License-Identifier: Apache-2.0 */
/* P03 (holder named), P04 (ephemeral: same number for both families, kept), P07 (SO_REUSEADDR), T16 (never shared). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/own.h"
#include "monitor/ports.h"

#include <cmocka.h>

static char top[32];
static struct home home;

static int set_up(void **state)
{
	struct failure f = { 0 };

	strcpy(top, "/tmp/a3s-ports-XXXXXX");
	assert_non_null(mkdtemp(top));
	setenv("XDG_RUNTIME_DIR", top, 1);
	setenv("A3S_HOME", top, 1);
	return home_open(&home, &f);
}

static int tear_down(void **state)
{
	home_close(&home);
	return io_remove_tree(top);
}

static int reserve(const struct box_port *wanted, size_t n, const struct box_state *previous, struct ports *ret, struct failure *f)
{
	static const struct box_state never = BOX_STATE_NULL;
	struct box_port copy[4];
	struct box_config config = BOX_CONFIG_NULL;

	memcpy(copy, wanted, n * sizeof(*wanted));
	config.ports = copy;
	config.n_ports = n;
	return ports_reserve(&home, &config, previous ? previous : &never, ret, f);
}

/* An ephemeral port on all addresses; what a host without IPv6 gives is one socket. */
static void test_ephemeral(void **state)
{
	struct box_port wanted = { .guest_port = 80 };
	struct failure f = { 0 };
	struct ports ports;

	assert_int_equal(reserve(&wanted, 1, NULL, &ports, &f), 0);
	assert_in_range(ports.n, 1, 2);
	assert_string_equal(ports.sockets[0].port.host_address, "0.0.0.0");
	assert_int_not_equal(ports.sockets[0].port.host_port, 0);
	if (ports.n == 2) {
		assert_string_equal(ports.sockets[1].port.host_address, "::");
		assert_int_equal(ports.sockets[0].port.host_port, ports.sockets[1].port.host_port);
	}
	ports_release(&ports);
}

static void test_kept(void **state)
{
	struct box_port wanted = { .guest_port = 80, .host_address = "127.0.0.1" };
	struct box_state previous = BOX_STATE_NULL;
	struct failure f = { 0 };
	struct ports ports, other;
	uint16_t number;

	assert_int_equal(reserve(&wanted, 1, NULL, &ports, &f), 0);
	number = ports.sockets[0].port.host_port;
	previous.bound = ports_bound(&ports);
	previous.n_bound = ports.n;
	/* Held by another: a new one. */
	assert_int_equal(reserve(&wanted, 1, &previous, &other, &f), 0);
	assert_int_not_equal(other.sockets[0].port.host_port, number);
	ports_release(&other);
	ports_release(&ports);
	/* Free again: the same. */
	assert_int_equal(reserve(&wanted, 1, &previous, &ports, &f), 0);
	assert_int_equal(ports.sockets[0].port.host_port, number);
	ports_release(&ports);
	free(previous.bound);
}

/* Two numbers for one port of the box: each is kept for its own. */
static void test_kept_in_order(void **state)
{
	struct box_port wanted[3] = { { .guest_port = 80 }, { .guest_port = 80 }, { .guest_port = 80, .host_address = "127.0.0.1" } };
	struct box_state previous = BOX_STATE_NULL;
	struct failure f = { 0 };
	struct ports ports;
	uint16_t numbers[8] = { 0 };
	size_t n;

	assert_int_equal(reserve(wanted, 3, NULL, &ports, &f), 0);
	n = ports.n;
	for (size_t i = 0; i < n; i++)
		numbers[i] = ports.sockets[i].port.host_port;
	wanted[0].host_port = numbers[0];
	previous.bound = ports_bound(&ports);
	previous.n_bound = n;
	ports_release(&ports);
	assert_int_equal(reserve(wanted, 3, &previous, &ports, &f), 0);
	assert_int_equal(ports.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(ports.sockets[i].port.host_port, numbers[i]);
	ports_release(&ports);
	free(previous.bound);
}

static void test_taken(void **state)
{
	struct box_port wanted[2] = { { .guest_port = 80, .host_address = "127.0.0.1" }, { .guest_port = 81 } };
	struct failure f = { 0 };
	struct ports ports, other;
	char expected[64];

	assert_int_equal(reserve(wanted, 1, NULL, &ports, &f), 0);
	wanted[0].host_address[0] = '\0';
	wanted[1].host_port = ports.sockets[0].port.host_port;
	assert_int_equal(reserve(wanted, 2, NULL, &other, &f), -1);
	assert_int_equal(f.code, EXIT_USAGE);
	snprintf(expected, sizeof(expected), "(pid %d)", getpid());
	assert_non_null(strstr(f.text, expected));
	assert_int_equal(other.n, 0);
	ports_release(&ports);
	assert_int_equal(reserve(wanted, 2, NULL, &other, &f), 0);
	ports_release(&other);
}

static void test_range(void **state)
{
	struct box_port wanted = { .guest_port = 80, .host_address = "127.0.0.1" };
	struct failure f = { 0 };
	struct ports first, ports;

	/* Some number that is followed by a free one. */
	do {
		assert_int_equal(reserve(&wanted, 1, NULL, &first, &f), 0);
		wanted.host_port = first.sockets[0].port.host_port;
		wanted.host_port_last = wanted.host_port + 1;
		if (wanted.host_port < 65535 && reserve(&wanted, 1, NULL, &ports, &f) == 0)
			break;
		ports_release(&first);
		wanted.host_port = wanted.host_port_last = 0;
	} while (true);
	assert_int_equal(ports.sockets[0].port.host_port, wanted.host_port + 1);
	assert_int_equal(ports.sockets[0].port.host_port_last, 0);
	{
		struct ports none;

		assert_int_equal(reserve(&wanted, 1, NULL, &none, &f), -1);
		assert_non_null(strstr(f.text, "every port of the range is taken"));
	}
	ports_release(&ports);
	ports_release(&first);
}

static void test_no_such_address(void **state)
{
	struct box_port wanted = { .guest_port = 80, .host_address = "192.0.2.7", .host_port = 8080 };
	struct failure f = { 0 };
	struct ports ports;

	assert_int_equal(reserve(&wanted, 1, NULL, &ports, &f), -1);
	assert_string_equal(f.text, "cannot publish 192.0.2.7:8080/tcp: this host has no such address");
}

/* A port whose last connections are in TIME_WAIT binds at once. */
static void test_time_wait(void **state)
{
	struct box_port wanted = { .guest_port = 80, .host_address = "127.0.0.1" };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct failure f = { 0 };
	struct ports ports;
	int client, server;
	char c;

	assert_int_equal(reserve(&wanted, 1, NULL, &ports, &f), 0);
	wanted.host_port = ports.sockets[0].port.host_port;
	address.sin_port = htons(wanted.host_port);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	server = accept(ports.sockets[0].fd, NULL, NULL);
	close(server); /* first to close: TIME_WAIT on our port */
	assert_int_equal(read(client, &c, 1), 0);
	close(client);
	ports_release(&ports);
	assert_int_equal(reserve(&wanted, 1, NULL, &ports, &f), 0);
	ports_release(&ports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ephemeral), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_kept_in_order),
		cmocka_unit_test(test_taken),	  cmocka_unit_test(test_range),
		cmocka_unit_test(test_no_such_address), cmocka_unit_test(test_time_wait),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
