// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Threads and processes that do whatever comes to mind to the same sockets at the same time. Nothing is expected of any
 * single call; all of it has to end, the kernel must not complain, and afterwards everything must be gone.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "host.h"
#include "test.h"

#define SOCKETS 24
#define THREADS 6
#define STEPS 4000

static int sockets[SOCKETS];

struct dice {
	uint64_t state;
};

static unsigned roll(struct dice *dice, unsigned sides)
{
	dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
	return (dice->state >> 33) % sides;
}

static struct sockaddr_storage somewhere(struct dice *dice)
{
	static const struct {
		const char *text;
		uint16_t port;
	} places[] = {
		{ "198.51.100.1", HOST_ECHO }, { "198.51.100.2", HOST_DISCARD }, { "198.51.100.3", HOST_ECHO },
		{ "127.0.0.1", 8080 },	       { "192.0.0.8", 8080 },
	};
	unsigned i = roll(dice, sizeof(places) / sizeof(*places));

	return test_name(places[i].text, places[i].port);
}

static void do_connect(struct dice *dice, int fd)
{
	struct sockaddr_storage name = somewhere(dice);

	if (!roll(dice, 8))
		name.ss_family = AF_UNSPEC;
	connect(fd, (void *)&name, sizeof(struct sockaddr_in));
}

static void do_send(struct dice *dice, int fd)
{
	static const char data[20000];
	struct sockaddr_storage name = somewhere(dice);
	int flags = MSG_NOSIGNAL | (roll(dice, 4) ? MSG_DONTWAIT : 0) | (roll(dice, 4) ? 0 : MSG_MORE);

	sendto(fd, data, roll(dice, sizeof(data)), flags, roll(dice, 2) ? (void *)&name : NULL, sizeof(struct sockaddr_in));
}

static void do_receive(struct dice *dice, int fd)
{
	static const int flags[] = { 0, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_ERRQUEUE };
	char data[4096];

	recv(fd, data, roll(dice, sizeof(data)), flags[roll(dice, 5)] | (roll(dice, 6) ? MSG_DONTWAIT : 0));
}

static void do_poll(struct dice *dice, int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP },
			       { .fd = sockets[roll(dice, SOCKETS)], .events = POLLIN } };

	poll(p, 2, roll(dice, 3));
}

static void do_shutdown(struct dice *dice, int fd)
{
	shutdown(fd, roll(dice, 3));
}

/* The descriptor becomes another socket, while others are in calls on the old one. */
static void do_replace(struct dice *dice, int fd)
{
	struct timeval soon = { .tv_usec = 2000 };
	struct linger linger = { .l_onoff = roll(dice, 2) };
	int fresh = socket(AF_INET, (roll(dice, 4) ? SOCK_STREAM : SOCK_DGRAM) | (roll(dice, 2) ? SOCK_NONBLOCK : 0), 0);

	if (fresh < 0)
		return;
	setsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	setsockopt(fresh, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
	setsockopt(fresh, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	dup2(fresh, fd);
	close(fresh);
}

static void do_listen(struct dice *dice, int fd)
{
	struct sockaddr_storage name = test_name("0.0.0.0", 8080);
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	bind(fd, (void *)&name, sizeof(struct sockaddr_in));
	listen(fd, roll(dice, 8));
}

static void do_accept(struct dice *dice, int fd)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	int fresh = accept4(fd, (void *)&name, &len, SOCK_NONBLOCK);

	if (fresh < 0)
		return;
	dup2(fresh, sockets[roll(dice, SOCKETS)]);
	close(fresh);
}

static void do_ask(struct dice *dice, int fd)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct tcp_info info;
	int value;

	getsockname(fd, (void *)&name, &len);
	len = sizeof(name);
	getpeername(fd, (void *)&name, &len);
	len = sizeof(info);
	getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len);
	len = sizeof(value);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
	ioctl(fd, FIONREAD, &value);
	value = roll(dice, 2);
	setsockopt(fd, SOL_TCP, TCP_NODELAY, &value, sizeof(value));
	setsockopt(fd, SOL_TCP, TCP_CORK, &value, sizeof(value));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value));
}

/* A process with the same sockets, killed in the middle of it. */
static void steps(struct dice *dice, unsigned n, bool parent);

static void do_fork(struct dice *dice, int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dice->state += getpid();
		steps(dice, 1 << 30, false);
		_exit(0);
	}
	if (pid < 0)
		return;
	usleep(roll(dice, 20000));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void (*const actions[])(struct dice *dice, int fd) = {
	do_connect, do_send, do_receive, do_poll,    do_ask,	do_connect, do_send,   do_receive, do_accept,
	do_accept,  do_send, do_receive, do_replace, do_listen, do_send,    do_receive, do_shutdown,
};

static void steps(struct dice *dice, unsigned n, bool parent)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		actions[roll(dice, sizeof(actions) / sizeof(*actions))](dice, sockets[roll(dice, SOCKETS)]);
		if (parent && !roll(dice, 400))
			do_fork(dice, 0);
	}
}

static void *thread_main(void *arg)
{
	struct dice dice = { .state = (uintptr_t)arg };

	steps(&dice, STEPS, true);
	return NULL;
}

/* Objects of that kind in the kernel; free ones that a CPU keeps at hand are counted as well. */
static unsigned objects(const char *kind)
{
	char line[512], name[64];
	unsigned n = 0, found;
	FILE *file = fopen("/proc/slabinfo", "re");

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %u", name, &found) == 2 && !strcmp(name, kind))
			n = found;
	fclose(file);
	return n;
}

static void await_objects(const char *kind, unsigned most)
{
	long deadline = test_now_ms() + TEST_DEADLINE_MS;

	while (objects(kind) > most) {
		if (test_now_ms() > deadline) {
			printf("# of %s:\n", kind);
			CHECK_EQ(objects(kind), most);
		}
		host_close_ready();
		usleep(10000);
	}
}

#define OBJECTS_AT_HAND 120

static void chaos(bool lose_control)
{
	unsigned vsock = objects("AF_VSOCK"), tcp = objects("TCP"), i;
	pthread_t threads[THREADS];
	struct dice dice = { .state = 42 };

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < SOCKETS; i++)
		sockets[i] = test_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)(i + 1)), 0);
	for (i = 0; lose_control && i < 20; i++) {
		usleep(20000 + roll(&dice, 50000));
		host_lose_control_if_there();
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < SOCKETS; i++)
		close(sockets[i]);
	/* Both ends of all connections are this guest's: the host's threads see theirs end. */
	await_objects("AF_VSOCK", vsock + OBJECTS_AT_HAND);
	await_objects("TCP", tcp + OBJECTS_AT_HAND);
}

static void chaos_quiet(void)
{
	chaos(false);
}

static void chaos_losing(void)
{
	chaos(true);
}

/* Ports, descriptors and memory of many short connections come back. */
static void short_ones(void)
{
	unsigned vsock = objects("AF_VSOCK"), tcp = objects("TCP"), i;

	for (i = 0; i < 1000; i++) {
		int fd = test_connect("198.51.100.1", HOST_ECHO);
		char byte = i;

		test_send(fd, &byte, 1);
		test_expect(fd, &byte, 1);
		close(fd);
	}
	CHECK(objects("AF_VSOCK") > 0);
	await_objects("AF_VSOCK", vsock + OBJECTS_AT_HAND);
	await_objects("TCP", tcp + OBJECTS_AT_HAND);
}

static void many_open(void)
{
	static int fds[1000];
	unsigned i;

	for (i = 0; i < 450; i++)
		fds[i] = test_connect("198.51.100.1", HOST_ECHO);
	for (i = 0; i < 450; i++)
		test_send(fds[i], &i, sizeof(i));
	for (i = 0; i < 450; i++)
		test_expect(fds[i], &i, sizeof(i));
}

const struct test tests_torture[] = {
	{ "T11 everything at once", chaos_quiet },
	{ "T11 R02 everything at once, while the host comes and goes", chaos_losing },
	{ "T20 short connections", short_ones },
	{ "T20 many connections", many_open },
	{},
};
