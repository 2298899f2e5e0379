// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Listeners, for clients of published ports and for those inside. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "host.h"
#include "test.h"

#define CLIENT "203.0.113.99"

static int accepted(int listener, const char *from)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	int fd = accept4(listener, (struct sockaddr *)&name, &len, SOCK_CLOEXEC);

	CHECK(fd >= 0);
	if (strcmp(test_format(&name), from))
		test_fail(__FILE__, __LINE__, test_format(&name));
	CHECK(!strcmp(test_name_of(fd, true), from));
	return fd;
}

static void listen_on(const char *address, uint16_t port, const char *client, const char *seen)
{
	int listener = test_listen(address, port), host, fd;
	char from[64];

	host = host_client(port, client, 5555);
	snprintf(from, sizeof(from), "%s 5555", seen);
	fd = accepted(listener, from);
	test_send(fd, "from the box", 12);
	test_expect(host, "from the box", 12);
	test_send(host, "to the box", 10);
	test_expect(fd, "to the box", 10);
	CHECK_EQ(shutdown(host, SHUT_WR), 0);
	test_expect_eof(fd);
	close(fd);
	test_expect_eof(host);
	close(listener);
	host_await_listener(port, false);
	close(host);
}

static void published(void)
{
	listen_on("0.0.0.0", 8080, CLIENT, CLIENT);
	listen_on("127.0.0.1", 8081, CLIENT, CLIENT);
	listen_on("::", 8082, CLIENT, "::ffff:" CLIENT);
	listen_on("::", 8083, "2001:db8::99", "2001:db8::99");
}

static void names(void)
{
	int listener = test_listen("0.0.0.0", 8080), fd;

	host_client(8080, CLIENT, 1);
	fd = accepted(listener, CLIENT " 1");
	CHECK(!strcmp(test_name_of(fd, false), "203.0.113.5 8080"));
}

static void ephemeral(void)
{
	int listener = test_listen("0.0.0.0", 0);

	host_client(test_port(listener), CLIENT, 1);
	accepted(listener, CLIENT " 1");
}

static void restarted(void)
{
	int listener = test_listen("0.0.0.0", 8080), host = host_client(8080, CLIENT, 1), fd = accepted(listener, CLIENT " 1");

	close(listener);
	host_await_listener(8080, false);
	/* An accepted connection outlives its listener. */
	test_send(fd, "x", 1);
	test_expect(host, "x", 1);
	listener = test_listen("0.0.0.0", 8080);
	host_client(8080, CLIENT, 2);
	accepted(listener, CLIENT " 2");
}

/* Connections that nobody accepted end with their listener. */
static void unaccepted(void)
{
	int listener = test_listen("0.0.0.0", 8080), host = host_client(8080, CLIENT, 1);

	close(listener);
	test_expect_eof(host);
}

static void nonblocking(void)
{
	int listener = test_listen("0.0.0.0", 8080), epoll = epoll_create1(0), flags, fd;
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	CHECK_EQ(fcntl(listener, F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), 0);
	CHECK_ERRNO(accept(listener, NULL, NULL), EAGAIN);
	host_client(8080, CLIENT, 1);
	CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(fd >= 0);
	flags = fcntl(fd, F_GETFL);
	CHECK(flags & O_NONBLOCK);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_ERRNO(accept(listener, NULL, NULL), EAGAIN);
	fd = test_connect("127.0.0.1", 8080);
	CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	CHECK(accept(listener, NULL, NULL) >= 0);
}

#define MIXED 40

static void worker(int listener, int report)
{
	char byte;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || recv(fd, &byte, 1, 0) != 1 || send(fd, &byte, 1, 0) != 1 || write(report, "", 1) != 1)
			_exit(1);
		close(fd);
	}
}

/* Several processes in accept on one listener, clients from inside and from outside. */
static void prefork(void)
{
	int listener = test_listen("0.0.0.0", 8080), report[2], i;
	pid_t pids[4];
	char byte;

	CHECK_EQ(pipe(report), 0);
	for (i = 0; i < 4; i++) {
		pids[i] = fork();
		if (!pids[i])
			worker(listener, report[1]);
	}
	for (i = 0; i < MIXED; i++) {
		int fd = i % 2 ? host_client(8080, CLIENT, i) : test_connect("127.0.0.1", 8080);

		test_send(fd, "b", 1);
		test_expect(fd, "b", 1);
		CHECK_EQ(read(report[0], &byte, 1), 1);
		close(fd);
	}
	for (i = 0; i < 4; i++) {
		CHECK_EQ(kill(pids[i], SIGKILL), 0);
		CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
	}
}

/* Two sockets on one port: the host sees both, and each gets clients. */
static void reuse_port(void)
{
	struct sockaddr_storage name = test_name("0.0.0.0", 8080);
	int fds[2], on = 1, i;

	for (i = 0; i < 2; i++) {
		fds[i] = test_socket(AF_INET, SOCK_STREAM);
		CHECK_EQ(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
		CHECK_EQ(setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
		CHECK_EQ(bind(fds[i], (void *)&name, test_name_len(&name)), 0);
		CHECK_EQ(listen(fds[i], 8), 0);
	}
	host_await_listener(8080, true);
	/* The second may be announced while the first has clients already. */
	for (i = 0; i < 8 || !test_poll(fds[0], POLLIN, 10) || !test_poll(fds[1], POLLIN, 10); i++) {
		CHECK(i < 1000);
		host_client(8080, CLIENT, i);
	}
}

static void *accept_one(void *arg)
{
	int fd = accept((int)(intptr_t)arg, NULL, NULL);

	return (void *)(intptr_t)(fd < 0 ? -errno : fd);
}

static void blocked_accept(void)
{
	int listener = test_listen("0.0.0.0", 8080);
	pthread_t thread;
	void *result;

	CHECK_EQ(pthread_create(&thread, NULL, accept_one, (void *)(intptr_t)listener), 0);
	host_client(8080, CLIENT, 1);
	pthread_join(thread, &result);
	CHECK((intptr_t)result >= 0);
	/* shutdown() ends the listening, and whoever waits in accept is told so. */
	CHECK_EQ(pthread_create(&thread, NULL, accept_one, (void *)(intptr_t)listener), 0);
	CHECK_EQ(shutdown(listener, SHUT_RDWR), 0);
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, -EINVAL);
	host_await_listener(8080, false);
}

static void inherited(void)
{
	struct timeval soon = { .tv_usec = 20000 };
	int listener = test_socket(AF_INET, SOCK_STREAM), fd, value = 0;
	struct sockaddr_storage name = test_name("0.0.0.0", 8080);
	socklen_t len = sizeof(value);
	char byte;

	CHECK_EQ(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	value = 1;
	CHECK_EQ(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)), 0);
	CHECK_EQ(setsockopt(listener, IPPROTO_TCP, 1 /* TCP_NODELAY */, &value, sizeof(value)), 0);
	CHECK_EQ(bind(listener, (void *)&name, test_name_len(&name)), 0);
	CHECK_EQ(listen(listener, 8), 0);
	value = 0;
	CHECK_EQ(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
	CHECK_EQ(value, 1);
	host_client(8080, CLIENT, 1);
	fd = accepted(listener, CLIENT " 1");
	CHECK_EQ(getsockopt(fd, IPPROTO_TCP, 1, &value, &len), 0);
	CHECK_EQ(value, 1);
	CHECK_ERRNO(recv(fd, &byte, 1, 0), EAGAIN);
	CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
	CHECK_EQ(value, 0);
}

static void announced_again(void)
{
	int listener = test_listen("0.0.0.0", 8080);

	host_await_listener(8080, true);
	host_lose_control();
	host_client(8080, CLIENT, 1);
	accepted(listener, CLIENT " 1");
}

const struct test tests_listen[] = {
	{ "T15 clients of published ports, all kinds of addresses", published },
	{ "T06 names of an accepted socket", names },
	{ "T18 bind to port 0", ephemeral },
	{ "T17 listener restarts", restarted },
	{ "T17 listener goes with clients waiting", unaccepted },
	{ "T18 non-blocking accept, epoll, accept4", nonblocking },
	{ "T18 pre-forked workers, mixed clients", prefork },
	{ "T12 SO_REUSEPORT", reuse_port },
	{ "T18 blocking accept, shutdown of a listener", blocked_accept },
	{ "T18 what an accepted socket has from its listener", inherited },
	{ "R02 listeners are announced again", announced_again },
	{},
};
