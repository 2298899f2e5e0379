/* SPDX-License-Identifier: Apache-2.0 */
/* R02: what a vsock process is asked for, and in which order, with the far end played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "monitor/vsock_process.h"

#include <cmocka.h>

#define PORTS 40

/* The next request's op, and the guest port of a publication; "": there is none. */
static const char *hear(int far, int *ret_port)
{
	static char op[32];
	_cleanup_json_ json_t *request = NULL;
	char text[4096];
	int fd = -1;
	size_t n_fds = 1;
	ssize_t n = io_recv_fds(far, text, sizeof(text), &fd, &n_fds);

	close_fd(fd);
	*op = '\0';
	if (n <= 0)
		return op;
	request = json_loadb(text, (size_t)n, 0, NULL);
	snprintf(op, sizeof(op), "%s", json_str(request, "op", "malformed"));
	*ret_port = (int)json_int(request, "guest_port", 0);
	return op;
}

/* A resolver that comes while ports are still being published takes no port's turn. */
static void test_resolver_between_ports(void **state)
{
	struct vsock_process v = VSOCK_PROCESS_NULL;
	struct port_socket sockets[PORTS] = { 0 };
	struct ports ports = { .sockets = sockets, .n = PORTS };
	int fds[2], published = 0, resolvers = 0, port;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	for (int i = 0; i < PORTS; i++)
		sockets[i] = (struct port_socket){ .port = { .guest_port = (uint16_t)(i + 1) }, .fd = STDIN_FILENO };
	v.fd = fds[0];
	v.agent_fd = STDIN_FILENO;
	v.ports = &ports;
	for (int round = 0; round < PORTS && !resolvers; round++) {
		/* a newer one replaces one that still waits */
		assert_int_equal(vsock_process_give_resolver(&v, STDIN_FILENO), 0);
		for (const char *op; *(op = hear(fds[1], &port));) {
			if (!strcmp(op, "publish"))
				assert_int_equal(port, ++published);
			resolvers += !strcmp(op, "resolver");
		}
		v.answered = v.next;
	}
	assert_int_equal(published, PORTS);
	assert_int_equal(resolvers, 1);
	assert_int_equal(v.next, 3 + PORTS + 1);
	vsock_process_end(&v);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_resolver_between_ports) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
