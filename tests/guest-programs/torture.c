// SPDX-License-Identifier: Apache-2.0
/*
 * usage: torture SEED STEPS ADDRESS...
 *
 * Threads and processes that do whatever comes to mind to the same sockets at the same time, with the outside's servers and
 * each other. Nothing is expected of any single call; all of it has to end, and the kernel must have nothing to say about
 * it: /proc/sys/kernel/tainted has no new bit. Prints what was done.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS 32
#define THREADS 6
#define COUNT(a) (sizeof(a) / sizeof(*(a)))
/* Of proc(5): bad page, oops, warning, soft lockup. */
#define TAINTS (1u << 5 | 1u << 7 | 1u << 9 | 1u << 14)

static int sockets[SOCKETS], file, epoll;
static char **addresses;
static unsigned n_addresses, n_steps;
static uint64_t seed;
static atomic_uint connected, moved, forked;

struct dice {
	uint64_t state;
};

static unsigned roll(struct dice *dice, unsigned sides)
{
	dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((dice->state >> 33) % sides);
}

/* An echo, a sink, who, a reset, a hello, one that holds, nobody; or this program's own listener. */
static struct sockaddr_in somewhere(struct dice *dice)
{
	static const uint16_t ports[] = { 7, 7, 7, 9, 79, 81, 82, 83, 1 };
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(ports[roll(dice, COUNT(ports))]) };

	if (roll(dice, 8)) {
		inet_pton(AF_INET, addresses[roll(dice, n_addresses)], &name.sin_addr);
	} else {
		name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		name.sin_port = htons(8080);
	}
	return name;
}

static void do_connect(struct dice *dice, int fd)
{
	struct sockaddr_in name = somewhere(dice);

	if (!roll(dice, 8))
		name.sin_family = AF_UNSPEC;
	connected += !connect(fd, (struct sockaddr *)&name, sizeof(name));
}

static void do_send(struct dice *dice, int fd)
{
	static const char data[20000];
	static const int extras[] = { 0, 0, 0, MSG_MORE, MSG_ZEROCOPY, MSG_OOB };
	struct sockaddr_in name = somewhere(dice);
	int flags = MSG_NOSIGNAL | (roll(dice, 4) ? MSG_DONTWAIT : 0) | extras[roll(dice, COUNT(extras))];
	ssize_t n = sendto(fd, data, roll(dice, sizeof(data)), flags, roll(dice, 2) ? (struct sockaddr *)&name : NULL, sizeof(name));

	moved += n > 0 ? (unsigned)n : 0;
}

static void do_receive(struct dice *dice, int fd)
{
	static const int flags[] = { 0, 0, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, MSG_ERRQUEUE };
	char data[4096];

	recv(fd, data, roll(dice, sizeof(data)), flags[roll(dice, COUNT(flags))] | (roll(dice, 6) ? MSG_DONTWAIT : 0));
}

static void do_pour(struct dice *dice, int fd)
{
	off_t at = 0;
	int ends[2];

	sendfile(fd, file, &at, roll(dice, 20000));
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return;
	splice(fd, NULL, ends[1], NULL, roll(dice, 20000), SPLICE_F_NONBLOCK);
	splice(ends[0], NULL, fd, NULL, 20000, SPLICE_F_NONBLOCK);
	close(ends[0]);
	close(ends[1]);
}

static void do_poll(struct dice *dice, int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP },
			       { .fd = sockets[roll(dice, SOCKETS)], .events = POLLIN } };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };

	poll(p, 2, (int)roll(dice, 3));
	epoll_ctl(epoll, roll(dice, 3) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
	epoll_wait(epoll, &event, 1, 0);
}

static void do_shutdown(struct dice *dice, int fd)
{
	shutdown(fd, (int)roll(dice, 3));
}

/* The descriptor becomes another socket, while others are in calls on the old one. */
static void do_replace(struct dice *dice, int fd)
{
	static const struct {
		int type, protocol;
	} kinds[] = { { SOCK_STREAM, 0 }, { SOCK_STREAM, 0 }, { SOCK_STREAM, 0 }, { SOCK_DGRAM, 0 }, { SOCK_DGRAM, IPPROTO_ICMP } };
	unsigned kind = roll(dice, COUNT(kinds));
	struct timeval soon = { .tv_usec = 2000 };
	struct linger linger = { .l_onoff = (int)roll(dice, 2), .l_linger = !roll(dice, 20) };
	int fresh = socket(AF_INET, kinds[kind].type | (roll(dice, 2) ? SOCK_NONBLOCK : 0), kinds[kind].protocol), on = 1;

	if (fresh < 0)
		return;
	setsockopt(fresh, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	setsockopt(fresh, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
	setsockopt(fresh, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(fresh, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on));
	setsockopt(fresh, SOL_IP, IP_RECVERR, &on, sizeof(on));
	dup2(fresh, fd);
	close(fresh);
}

static void do_listen(struct dice *dice, int fd)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(8080) };
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	bind(fd, (struct sockaddr *)&name, sizeof(name));
	listen(fd, (int)roll(dice, 8));
}

static void do_accept(struct dice *dice, int fd)
{
	int fresh = accept4(fd, NULL, NULL, SOCK_NONBLOCK);

	if (fresh < 0)
		return;
	dup2(fresh, sockets[roll(dice, SOCKETS)]);
	close(fresh);
}

static void do_ask(struct dice *dice, int fd)
{
	static const struct {
		int level, name;
	} options[] = { { SOL_TCP, TCP_NODELAY }, { SOL_TCP, TCP_CORK }, { SOL_SOCKET, SO_KEEPALIVE }, { IPPROTO_UDP, 1 /* UDP_CORK */ },
			{ SOL_IP, IP_TTL }, { SOL_TCP, TCP_KEEPIDLE }, { SOL_SOCKET, SO_RCVLOWAT } };
	unsigned i = roll(dice, COUNT(options));
	struct sockaddr_storage name;
	socklen_t size = sizeof(name);
	struct tcp_info info;
	int value;

	getsockname(fd, (struct sockaddr *)&name, &size);
	size = sizeof(name);
	getpeername(fd, (struct sockaddr *)&name, &size);
	size = sizeof(info);
	getsockopt(fd, SOL_TCP, TCP_INFO, &info, &size);
	size = sizeof(value);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size);
	ioctl(fd, FIONREAD, &value);
	ioctl(fd, TIOCOUTQ, &value);
	value = (int)roll(dice, 2);
	setsockopt(fd, options[i].level, options[i].name, &value, sizeof(value));
}

static void (*const actions[])(struct dice *dice, int fd) = {
	do_connect, do_connect, do_send, do_send, do_send, do_receive, do_receive, do_receive, do_poll, do_ask, do_accept, do_pour,
	do_replace, do_listen, do_shutdown,
};

static void steps(struct dice *dice, unsigned n)
{
	while (n-- > 0)
		actions[roll(dice, COUNT(actions))](dice, sockets[roll(dice, SOCKETS)]);
}

/* A process with the same sockets, killed in the middle of it. */
static void fork_and_kill(struct dice *dice)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dice->state += 1;
		steps(dice, UINT32_MAX);
		_exit(0);
	}
	if (pid < 0)
		return;
	forked++;
	poll(NULL, 0, (int)roll(dice, 20));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void *work(void *arg)
{
	struct dice dice = { .state = seed + (uintptr_t)arg };

	for (unsigned done = 0; done < n_steps; done += 200) {
		steps(&dice, 200);
		fork_and_kill(&dice);
	}
	return NULL;
}

static unsigned taints(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "re");
	unsigned value = TAINTS;

	if (!f || fscanf(f, "%u", &value) != 1)
		perror("tainted");
	if (f)
		fclose(f);
	return value & TAINTS;
}

int main(int argc, char **argv)
{
	unsigned before = taints(), after;
	pthread_t threads[THREADS];
	char block[20000] = "";

	if (argc < 4)
		return 2;
	seed = strtoull(argv[1], NULL, 0) * THREADS;
	n_steps = (unsigned)atoi(argv[2]) / THREADS;
	addresses = argv + 3;
	n_addresses = (unsigned)argc - 3;
	signal(SIGPIPE, SIG_IGN);
	file = memfd_create("torture", MFD_CLOEXEC);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (write(file, block, sizeof(block)) != sizeof(block))
		return 2;
	for (unsigned i = 0; i < SOCKETS; i++)
		sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < SOCKETS; i++)
		close(sockets[i]);
	after = taints();
	printf("seed %s: %u connects, %u bytes, %u processes, taints %x\n", argv[1], connected, moved, forked, after);
	return after != before || after;
}
