// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/* Connections to somewhere outside of the guest. */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>

#include "host.h"
#include "test.h"

#define OUTSIDE "198.51.100.1"
#define OUTSIDE_V6 "2001:db8::1"
#define LAST_BYTES 1500

static void fill(uint8_t *data, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = (seed = seed * 1103515245 + 12345) >> 16;
}

struct bulk {
	int fd;
	size_t len;
};

static void *bulk_send(void *arg)
{
	struct bulk *bulk = arg;
	uint8_t *data = malloc(bulk->len);
	size_t sent = 0;

	fill(data, bulk->len, 1);
	while (sent < bulk->len) {
		ssize_t n = send(bulk->fd, data + sent, bulk->len - sent < 100001 ? bulk->len - sent : 100001, 0);

		CHECK(n > 0);
		sent += n;
	}
	CHECK_EQ(shutdown(bulk->fd, SHUT_WR), 0);
	free(data);
	return NULL;
}

static void echo_bulk(const char *to)
{
	struct bulk bulk = { .fd = test_connect(to, HOST_ECHO), .len = 8 << 20 };
	uint8_t *data = malloc(bulk.len), *expected = malloc(bulk.len);
	pthread_t thread;
	size_t got = 0;

	fill(expected, bulk.len, 1);
	CHECK_EQ(pthread_create(&thread, NULL, bulk_send, &bulk), 0);
	while (got < bulk.len) {
		ssize_t n = recv(bulk.fd, data + got, bulk.len - got, 0);

		CHECK(n > 0);
		got += n;
	}
	test_expect_eof(bulk.fd);
	CHECK(!memcmp(data, expected, bulk.len));
	pthread_join(thread, NULL);
	close(bulk.fd);
}

static void bulk_both_ways(void)
{
	echo_bulk(OUTSIDE);
	echo_bulk(OUTSIDE_V6);
}

static void names(void)
{
	int fd = test_connect(OUTSIDE, 1000), v6, mapped;
	struct host_stream host = host_take();

	CHECK(!strcmp(test_name_of(fd, true), OUTSIDE " 1000"));
	test_await_name(fd, "203.0.113.5 40000");
	CHECK(!memcmp(host.request.remote.bytes, "\xc6\x33\x64\x01", 4));
	v6 = test_connect(OUTSIDE_V6, 1000);
	CHECK(!strcmp(test_name_of(v6, true), OUTSIDE_V6 " 1000"));
	mapped = test_connect("::ffff:" OUTSIDE, 1000);
	CHECK(!strcmp(test_name_of(mapped, true), "::ffff:" OUTSIDE " 1000"));
	test_await_name(mapped, "::ffff:203.0.113.5 40000");
	host = host_take();
	CHECK_EQ(host.request.remote.family, TSI_FAMILY_V6);
	host = host_take();
	CHECK_EQ(host.request.remote.family, TSI_FAMILY_V4);
}

static void bound_before(void)
{
	struct sockaddr_storage any = test_name("0.0.0.0", 4321), out = test_name(OUTSIDE, 1000);
	int fd = test_socket(AF_INET, SOCK_STREAM);
	struct host_stream host;

	CHECK_EQ(bind(fd, (void *)&any, test_name_len(&any)), 0);
	CHECK_EQ(connect(fd, (void *)&out, test_name_len(&out)), 0);
	host = host_take();
	CHECK_EQ(ntohs(host.request.local.port), 4321);
}

static void connect_refused(void)
{
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	int fd = test_socket(AF_INET, SOCK_STREAM), error, epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };
	socklen_t len = sizeof(error);

	host_refuse(true);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), ECONNREFUSED);
	/* The same socket can try again. */
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), ECONNREFUSED);
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), EINPROGRESS);
	do
		CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	while (!(event.events & EPOLLERR));
	CHECK(event.events & EPOLLHUP);
	CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	CHECK_EQ(error, ECONNREFUSED);
	CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	CHECK_EQ(error, 0);
	CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), ECONNABORTED);
	host_refuse(false);
	CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
	CHECK_EQ(connect(fd, (void *)&out, test_name_len(&out)), 0);
	host_take();
}

static void connect_nonblocking(void)
{
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	struct sockaddr unspec = { .sa_family = AF_UNSPEC };
	int fd = test_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK), epoll = epoll_create1(0), r;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct host_stream host;

	/* Registered before there is anything to wait for. */
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 1);
	CHECK_EQ(event.events, EPOLLOUT | EPOLLHUP);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), EINPROGRESS);
	CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	CHECK_EQ(event.events, EPOLLOUT);
	r = connect(fd, (void *)&out, test_name_len(&out));
	CHECK_EQ(r, 0);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), EISCONN);
	host = host_take();
	test_send(host.fd, "hello", 5);
	CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	CHECK(event.events & EPOLLIN);
	test_expect(fd, "hello", 5);
	/* And then it can be used again. */
	CHECK_EQ(connect(fd, &unspec, sizeof(unspec)), 0);
	test_expect_eof(host.fd);
	CHECK_ERRNO(recv(fd, &r, 1, 0), ENOTCONN);
	CHECK_ERRNO(connect(fd, (void *)&out, test_name_len(&out)), EINPROGRESS);
	CHECK_EQ(test_poll(fd, POLLOUT, TEST_DEADLINE_MS), POLLOUT);
	host_take();
}

static void half_close(void)
{
	int fd = test_connect(OUTSIDE, 1000);
	struct host_stream host = host_take();

	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	test_expect_eof(host.fd);
	CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	test_send(host.fd, "still", 5);
	test_expect(fd, "still", 5);
	CHECK_EQ(shutdown(host.fd, SHUT_WR), 0);
	test_expect_eof(fd);
	CHECK_EQ(test_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);

	fd = test_connect(OUTSIDE, 1000);
	host = host_take();
	test_send(host.fd, "last", 4);
	CHECK_EQ(shutdown(host.fd, SHUT_WR), 0);
	test_expect(fd, "last", 4);
	test_expect_eof(fd);
	CHECK_EQ(test_poll(fd, POLLIN | POLLOUT | POLLRDHUP, 0), POLLIN | POLLOUT | POLLRDHUP);
	test_send(fd, "more", 4);
	test_expect(host.fd, "more", 4);
	close(fd);
	test_expect_eof(host.fd);
}

static void *wait_for_eof(void *arg)
{
	test_expect_eof((int)(intptr_t)arg);
	return NULL;
}

static void shutdown_wakes(void)
{
	int fd = test_connect(OUTSIDE, 1000);
	pthread_t thread;

	host_take();
	CHECK_EQ(pthread_create(&thread, NULL, wait_for_eof, (void *)(intptr_t)fd), 0);
	usleep(1000);
	CHECK_EQ(shutdown(fd, SHUT_RD), 0);
	pthread_join(thread, NULL);
}

struct ending {
	_Atomic int host; /* the host's end; -1: none yet, -2: that was the last */
};

/* A byte and the end, one right after the other. */
static void *end_at_once(void *arg)
{
	struct ending *e = arg;
	int fd;

	for (;;) {
		while ((fd = atomic_exchange(&e->host, -1)) == -1)
			;
		if (fd == -2)
			return NULL;
		test_send(fd, "x", 1);
		CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	}
}

/* The last byte comes before the end, however closely a reader looks. */
static void last_byte_first(void)
{
	struct ending ending = { .host = -1 };
	pthread_t thread;
	int i;

	CHECK_EQ(pthread_create(&thread, NULL, end_at_once, &ending), 0);
	for (i = 0; i < LAST_BYTES; i++) {
		int fd = test_connect(OUTSIDE, 80), got = 0, n;
		struct host_stream host = host_take();
		char byte;

		atomic_store(&ending.host, host.fd);
		while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) != 0) {
			CHECK(n == 1 || errno == EAGAIN);
			got += n == 1;
		}
		CHECK_EQ(got, 1);
		close(fd);
		close(host.fd);
	}
	atomic_store(&ending.host, -2);
	pthread_join(thread, NULL);
}

static void linger_zero(void)
{
	struct linger linger = { .l_onoff = 1 };
	int fd = test_connect(OUTSIDE, 1000);
	struct host_stream host = host_take();

	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
	test_expect_eof(host.fd);
	host_await_option(host.port, TSI_OPTION_LINGER, 0);

	/* What was not read is lost: a reset as well. */
	fd = test_connect(OUTSIDE, 1000);
	host = host_take();
	test_send(host.fd, "unread", 6);
	CHECK_EQ(test_poll(fd, POLLIN, TEST_DEADLINE_MS), POLLIN);
	close(fd);
	host_await_option(host.port, TSI_OPTION_LINGER, 0);
}

static void *close_slowly(void *arg)
{
	int *fds = arg;

	close(fds[0]);
	CHECK_EQ(write(fds[1], "", 1), 1);
	return NULL;
}

static void linger(void)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 10 };
	int fd = test_connect(OUTSIDE, 1000), closed[2], fds[2];
	struct host_stream host = host_take();
	pthread_t thread;
	long start;

	/* The close is answered when the stand-in closes. */
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	CHECK_EQ(pipe(closed), 0);
	fds[0] = fd;
	fds[1] = closed[1];
	test_send(fd, "data", 4);
	CHECK_EQ(pthread_create(&thread, NULL, close_slowly, fds), 0);
	host_await_option(host.port, TSI_OPTION_LINGER, 10);
	CHECK_EQ(test_poll(closed[0], POLLIN, 50), 0);
	test_expect(host.fd, "data", 4);
	test_expect_eof(host.fd);
	close(host.fd);
	CHECK_EQ(test_poll(closed[0], POLLIN, linger.l_linger * 500), POLLIN);
	pthread_join(thread, NULL);

	/* Not for ever. */
	fd = test_connect(OUTSIDE, 1000);
	host = host_take();
	linger.l_linger = 1;
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	test_send(fd, "data", 4);
	start = test_now_ms();
	close(fd);
	CHECK(test_now_ms() - start >= 900);
	test_expect(host.fd, "data", 4);
	test_expect_eof(host.fd);
}

static void signal_on_pipe(void)
{
	int fd = test_connect(OUTSIDE, 1000), status;
	pid_t pid;

	host_take();
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	pid = fork();
	if (!pid) {
		signal(SIGPIPE, SIG_DFL);
		_exit(write(fd, "x", 1) == 1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void killed(void)
{
	struct host_stream host;
	int ready[2];
	pid_t pid;
	char byte;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		int fd = test_connect(OUTSIDE, 1000);

		CHECK_EQ(write(ready[1], "", 1), 1);
		CHECK_EQ(recv(fd, &byte, 1, 0), 1);
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	host = host_take();
	kill(pid, SIGKILL);
	test_expect_eof(host.fd);
	waitpid(pid, NULL, 0);
}

static void interrupted(int sig)
{
}

static void times_out(void)
{
	struct timeval soon = { .tv_usec = 30000 };
	struct sigaction action = { .sa_handler = interrupted };
	struct itimerval timer = { .it_value = { .tv_usec = 30000 } };
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	int fd = test_socket(AF_INET, SOCK_STREAM);
	char byte, block[65536] = {};
	long start;

	/* Set before the connect, effective after it. */
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), 0);
	CHECK_EQ(connect(fd, (void *)&out, test_name_len(&out)), 0);
	host_take();
	start = test_now_ms();
	CHECK_ERRNO(recv(fd, &byte, 1, 0), EAGAIN);
	CHECK(test_now_ms() - start >= 20);
	while (send(fd, block, sizeof(block), 0) > 0)
		;
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(test_poll(fd, POLLOUT, 0), 0);
	memset(&soon, 0, sizeof(soon));
	CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
	CHECK_ERRNO(recv(fd, &byte, 1, 0), EINTR);
}

static void flow_control(void)
{
	int fd = test_connect(OUTSIDE, 1000), epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	struct host_stream host = host_take();
	static char block[32768];
	size_t sent = 0, got = 0;
	ssize_t n;

	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 1);
	while ((n = send(fd, block, sizeof(block), 0)) > 0)
		sent += n;
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(epoll_wait(epoll, &event, 1, 0), 0);
	while (got < sent) {
		n = recv(host.fd, block, sizeof(block), 0);
		CHECK(n > 0);
		got += n;
	}
	CHECK_EQ(epoll_wait(epoll, &event, 1, TEST_DEADLINE_MS), 1);
	CHECK(event.events & EPOLLOUT);
	CHECK(send(fd, block, sizeof(block), 0) > 0);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK_EQ(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void set_option(int fd, int level, int name, int value)
{
	CHECK_EQ(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

static void options(void)
{
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	int fd = test_socket(AF_INET, SOCK_STREAM);
	struct tcp_info info;
	socklen_t len = sizeof(info);
	struct host_stream host;

	set_option(fd, SOL_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_TCP, TCP_KEEPIDLE, 77);
	CHECK_EQ(connect(fd, (void *)&out, test_name_len(&out)), 0);
	host = host_take();
	CHECK_EQ(host.request.value, 0);
	host_await_option(host.port, TSI_OPTION_KEEPIDLE, 77);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	CHECK_EQ(option(fd, SOL_SOCKET, SO_ERROR), 0);
	CHECK_EQ(option(fd, SOL_TCP, TCP_NODELAY), 1);
	CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPIDLE), 77);
	CHECK(option(fd, SOL_TCP, TCP_MAXSEG) > 0);
	CHECK(option(fd, SOL_SOCKET, SO_SNDBUF) > 0);
	set_option(fd, SOL_TCP, TCP_NODELAY, 0);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	test_send(fd, "x", 1);
	host_await_option(host.port, TSI_OPTION_KEEPALIVE, 1);
	CHECK_EQ(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len), 0);
	CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
	shutdown(host.fd, SHUT_WR);
	test_expect_eof(fd);
	CHECK_EQ(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len), 0);
	CHECK_EQ(info.tcpi_state, TCP_CLOSE_WAIT);
}

static void multipath_is_tcp(void)
{
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	CHECK(fd >= 0);
	CHECK_EQ(connect(fd, (void *)&out, test_name_len(&out)), 0);
	host_take();
}

static void receive_flags(void)
{
	int fd = test_connect(OUTSIDE, 1000), n;
	struct host_stream host = host_take();
	char buffer[16] = {};

	CHECK_ERRNO(recv(fd, buffer, 1, MSG_DONTWAIT), EAGAIN);
	test_send(host.fd, "abcdefghij", 10);
	CHECK_EQ(test_poll(fd, POLLIN, TEST_DEADLINE_MS), POLLIN);
	CHECK_EQ(recv(fd, buffer, 4, MSG_PEEK), 4);
	CHECK(!memcmp(buffer, "abcd", 4));
	CHECK_EQ(recv(fd, buffer, 2, 0), 2);
	CHECK_EQ(ioctl(fd, FIONREAD, &n), 0);
	CHECK_EQ(n, 8);
	CHECK_EQ(recv(fd, NULL, 3, MSG_TRUNC), 3);
	CHECK_EQ(recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT), 5);
	CHECK(!memcmp(buffer, "fghij", 5));
	test_send(host.fd, "12345", 5);
	CHECK_EQ(recv(fd, buffer, 5, MSG_WAITALL), 5);
	CHECK_ERRNO(recv(fd, (void *)1, 1, MSG_DONTWAIT), EAGAIN);
	test_send(host.fd, "x", 1);
	CHECK_EQ(test_poll(fd, POLLIN, TEST_DEADLINE_MS), POLLIN);
	CHECK_ERRNO(recv(fd, (void *)1, 1, 0), EFAULT);
	CHECK_EQ(ioctl(fd, SIOCOUTQ, &n), 0);
	CHECK_EQ(n, 0);
}

static void *bulk_feed(void *arg)
{
	static char block[1 << 20];

	memset(block, 'z', sizeof(block));
	test_send((int)(intptr_t)arg, block, sizeof(block));
	return NULL;
}

/* More than vsock's buffer in one call. */
static void receive_all(void)
{
	int fd = test_connect(OUTSIDE, 1000);
	struct host_stream host = host_take();
	static char block[1 << 20];
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, bulk_feed, (void *)(intptr_t)host.fd), 0);
	CHECK_EQ(recv(fd, block, sizeof(block), MSG_WAITALL), sizeof(block));
	CHECK(block[0] == 'z' && block[sizeof(block) - 1] == 'z');
	pthread_join(thread, NULL);
}

static void send_ways(void)
{
	int fd = test_connect(OUTSIDE, 1000), file = open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2];
	struct host_stream host = host_take();
	struct iovec parts[2] = { { "one", 3 }, { "two", 3 } };
	struct sockaddr_storage out = test_name(OUTSIDE, 1000);
	static char page[10000], got[10000];
	off_t at = 0;

	CHECK_EQ(writev(fd, parts, 2), 6);
	test_expect(host.fd, "onetwo", 6);
	/* TCP does not mind a destination. */
	CHECK_EQ(sendto(fd, "three", 5, 0, (void *)&out, test_name_len(&out)), 5);
	test_expect(host.fd, "three", 5);
	memset(page, 'q', sizeof(page));
	CHECK_EQ(write(file, page, sizeof(page)), sizeof(page));
	CHECK_EQ(sendfile(fd, file, &at, sizeof(page)), sizeof(page));
	CHECK_EQ(recv(host.fd, got, sizeof(got), MSG_WAITALL), sizeof(got));
	CHECK(!memcmp(page, got, sizeof(got)));
	CHECK_EQ(pipe(pipes), 0);
	test_send(host.fd, "spliced", 7);
	CHECK_EQ(splice(fd, NULL, pipes[1], NULL, 100, 0), 7);
	CHECK_EQ(splice(pipes[0], NULL, fd, NULL, 7, 0), 7);
	test_expect(host.fd, "spliced", 7);
}

static void *small_send(void *arg)
{
	struct bulk *bulk = arg;
	uint8_t *data = malloc(bulk->len);
	unsigned seed = 7;
	size_t sent = 0;

	fill(data, bulk->len, 1);
	while (sent < bulk->len) {
		size_t len;
		ssize_t n;

		seed = seed * 1103515245 + 12345;
		len = seed >> 16 & (seed & 1 ? 0x3f : 0x1fff);
		if (len > bulk->len - sent)
			len = bulk->len - sent;
		if (!(seed % 1000))
			set_option(bulk->fd, SOL_TCP, seed & 4096 ? TCP_CORK : TCP_NODELAY, !!(seed & 8192));
		n = send(bulk->fd, data + sent, len, seed % 7 ? 0 : MSG_MORE);
		CHECK(n >= 0);
		sent += n;
	}
	CHECK_EQ(shutdown(bulk->fd, SHUT_WR), 0);
	free(data);
	return NULL;
}

/* Writes of all sizes, held back and not, arrive whole and in order. */
static void small_writes(void)
{
	struct bulk bulk = { .fd = test_connect(OUTSIDE, HOST_ECHO), .len = 4 << 20 };
	uint8_t *data = malloc(bulk.len), *expected = malloc(bulk.len);
	pthread_t thread;

	fill(expected, bulk.len, 1);
	CHECK_EQ(pthread_create(&thread, NULL, small_send, &bulk), 0);
	CHECK_EQ(recv(bulk.fd, data, bulk.len, MSG_WAITALL), bulk.len);
	CHECK(!memcmp(data, expected, bulk.len));
	test_expect_eof(bulk.fd);
	pthread_join(thread, NULL);
}

static void held_back(void)
{
	int fd = test_connect(OUTSIDE, 1000), n;
	struct host_stream host = host_take();
	char buffer[16];
	long start;

	CHECK_EQ(send(fd, "one", 3, MSG_MORE), 3);
	CHECK_EQ(ioctl(fd, SIOCOUTQNSD, &n), 0);
	CHECK_EQ(n, 3);
	test_send(fd, "two", 3);
	CHECK_EQ(recv(host.fd, buffer, sizeof(buffer), 0), 6);
	set_option(fd, SOL_TCP, TCP_CORK, 1);
	test_send(fd, "corked", 6);
	CHECK_EQ(ioctl(fd, SIOCOUTQNSD, &n), 0);
	CHECK_EQ(n, 6);
	set_option(fd, SOL_TCP, TCP_CORK, 0);
	test_expect(host.fd, "corked", 6);
	/* Nothing is held for long, and nothing is lost by a close. */
	start = test_now_ms();
	CHECK_EQ(send(fd, "late", 4, MSG_MORE), 4);
	test_expect(host.fd, "late", 4);
	CHECK(test_now_ms() - start >= 100);
	CHECK_EQ(send(fd, "last", 4, MSG_MORE), 4);
	close(fd);
	test_expect(host.fd, "last", 4);
	test_expect_eof(host.fd);
}

static void zero_copy(void)
{
	int fd = test_connect(OUTSIDE, 1000);
	struct host_stream host = host_take();
	char control[256], data[64] = "copied";
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct sock_extended_err *done;

	set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
	CHECK_EQ(send(fd, data, sizeof(data), MSG_ZEROCOPY), sizeof(data));
	CHECK(test_poll(fd, POLLIN, TEST_DEADLINE_MS) & POLLERR);
	CHECK_EQ(recvmsg(fd, &msg, MSG_ERRQUEUE), 0);
	CHECK(CMSG_FIRSTHDR(&msg));
	done = (void *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
	CHECK_EQ(done->ee_origin, SO_EE_ORIGIN_ZEROCOPY);
	CHECK_EQ(done->ee_code, SO_EE_CODE_ZEROCOPY_COPIED);
	test_expect(host.fd, data, sizeof(data));
	CHECK_EQ(test_poll(fd, POLLIN, 0), 0);
}

static void module_is_held(void)
{
	int fd = test_connect(OUTSIDE, 1000);

	host_take();
	CHECK_ERRNO(syscall(SYS_delete_module, "tsi", O_NONBLOCK), EWOULDBLOCK);
	test_send(fd, "x", 1);
}

static void host_lost(void)
{
	int fd = test_connect(OUTSIDE, 1000), other;
	struct host_stream host = host_take();

	host_lose_control();
	/* What is connected stays, and a blocking connect waits for the host to come back. */
	test_send(fd, "x", 1);
	test_expect(host.fd, "x", 1);
	other = test_connect(OUTSIDE, 1000);
	host = host_take();
	test_send(other, "y", 1);
	test_expect(host.fd, "y", 1);
}

static void loopback(void)
{
	int listener = test_listen("127.0.0.1", 8080), fd = test_connect("127.0.0.1", 8080), peer = accept(listener, NULL, NULL);
	int any = test_listen("0.0.0.0", 8081), own = test_connect("192.0.0.8", 8081), v6;

	CHECK(peer >= 0);
	test_send(fd, "in", 2);
	test_expect(peer, "in", 2);
	CHECK(!strcmp(test_name_of(fd, true), "127.0.0.1 8080"));
	CHECK_EQ(accept(any, NULL, NULL) < 0, 0);
	CHECK(!strcmp(test_name_of(own, true), "192.0.0.8 8081"));
	v6 = test_listen("::1", 8082);
	fd = test_connect("::1", 8082);
	CHECK(accept(v6, NULL, NULL) >= 0);
	fd = test_socket(AF_INET, SOCK_STREAM);
	struct sockaddr_storage closed = test_name("127.0.0.1", 1), zero = test_name("0.0.0.0", 8080);
	CHECK_ERRNO(connect(fd, (void *)&closed, test_name_len(&closed)), ECONNREFUSED);
	CHECK_EQ(connect(fd, (void *)&zero, test_name_len(&zero)), 0);
}

const struct test tests_stream[] = {
	{ "T02 bulk both ways, v4 and v6", bulk_both_ways },
	{ "T03 connect refused, again, and then not", connect_refused },
	{ "T04 T05 non-blocking connect with epoll from before it", connect_nonblocking },
	{ "T05 epoll says when there is room again", flow_control },
	{ "T06 names of a connected socket", names },
	{ "T06 bound before it is connected", bound_before },
	{ "T07 half-close either way", half_close },
	{ "T07 the last byte comes before the end", last_byte_first },
	{ "T07 SO_LINGER 0 and unread data reset", linger_zero },
	{ "T07 SO_LINGER waits for the peer", linger },
	{ "T07 SIGPIPE", signal_on_pipe },
	{ "T09 options", options },
	{ "T09 SO_RCVTIMEO and SO_SNDTIMEO from before the connect, EINTR", times_out },
	{ "T09 MPTCP is TCP", multipath_is_tcp },
	{ "T02 small writes, held back and not", small_writes },
	{ "T09 MSG_MORE and TCP_CORK hold back", held_back },
	{ "T10 flags of recv, FIONREAD", receive_flags },
	{ "T10 MSG_WAITALL beyond the buffer", receive_all },
	{ "T10 MSG_ZEROCOPY is copied, and says so", zero_copy },
	{ "the module stays while it has sockets", module_is_held },
	{ "T10 writev, sendto, sendfile, splice", send_ways },
	{ "T11 shutdown wakes a reader", shutdown_wakes },
	{ "T12 loopback stays inside", loopback },
	{ "T22 SIGKILL closes the host's side", killed },
	{ "R02 the host is lost and comes back", host_lost },
	{},
};
