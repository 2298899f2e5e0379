/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network figures are measured with where iperf3 has no such test, and how a guest without an agent is told to run it.
 *
 *	netbench serve ADDRESS PORT		echo each byte stream, or count and answer it: by its first byte, 'e' or 's'
 *	netbench rr ADDRESS PORT SECONDS	64 bytes there and back on one connection: exchanges per second
 *	netbench crr ADDRESS PORT SECONDS	connect, one byte each way, close: connections per second
 *	netbench sendfile ADDRESS PORT FILE	the file by sendfile(), until the other side has all: bytes per second
 *	netbench shell ADDRESS PORT NAME	connect, once somebody listens, say NAME and a newline, become a shell on that connection
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in address;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL);

		if (n <= 0)
			die("send");
		done += (size_t)n;
	}
}

static void receive_all(int fd, void *data, size_t size)
{
	if (recv(fd, data, size, MSG_WAITALL) != (ssize_t)size)
		die("recv");
}

static void *serve_one(void *argument)
{
	int fd = (int)(intptr_t)argument, one = 1;
	static const size_t room = 256 << 10;
	char *buffer = malloc(room), kind = 0;
	ssize_t n;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (buffer && recv(fd, &kind, 1, 0) == 1) {
		while ((n = recv(fd, buffer, room, 0)) > 0)
			if (kind == 'e' && send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
				break;
		if (kind == 's')
			send(fd, "!", 1, MSG_NOSIGNAL);
	}
	free(buffer);
	close(fd);
	return NULL;
}

static void serve(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, client;
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 512) < 0)
		die("listen");
	while ((client = accept(fd, NULL, NULL)) >= 0 || errno == ECONNABORTED || errno == EINTR)
		if (client >= 0 && pthread_create(&thread, &detached, serve_one, (void *)(intptr_t)client) != 0)
			close(client);
	die("accept");
}

static void exchange(double limit)
{
	char data[64] = "", back[64];
	double start, now;
	unsigned n = 0;
	int fd = dial();

	send_all(fd, "e", 1);
	start = seconds();
	do {
		send_all(fd, data, sizeof(data));
		receive_all(fd, back, sizeof(back));
		n++;
		now = seconds();
	} while (now - start < limit);
	printf("%.1f\n", n / (now - start));
}

static void connections(double limit)
{
	double start = seconds(), now;
	char byte;
	unsigned n = 0;

	do {
		int fd = dial();

		send_all(fd, "ex", 2);
		receive_all(fd, &byte, 1);
		close(fd);
		n++;
		now = seconds();
	} while (now - start < limit);
	printf("%.1f\n", n / (now - start));
}

static void send_file(const char *path)
{
	int fd = dial(), file = open(path, O_RDONLY);
	double start = seconds();
	off_t offset = 0;
	struct stat st;
	char byte;

	if (file < 0 || fstat(file, &st) < 0)
		die(path);
	send_all(fd, "s", 1);
	while (offset < st.st_size)
		if (sendfile(fd, file, &offset, (size_t)(st.st_size - offset)) <= 0)
			die("sendfile");
	shutdown(fd, SHUT_WR);
	receive_all(fd, &byte, 1);
	printf("%.0f\n", (double)st.st_size / (seconds() - start));
}

static void become_shell(const char *name)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	for (unsigned tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; tries++) {
		if (tries == 1000)
			die("connect");
		close(fd);
		usleep(300000);
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	dprintf(fd, "%s\n", name);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	execl("/bin/sh", "sh", (char *)NULL);
	die("sh");
}

int main(int argc, char **argv)
{
	const char *what = argc > 3 ? argv[1] : "", *last = argc > 4 ? argv[4] : "1";

	signal(SIGPIPE, SIG_IGN);
	address.sin_family = AF_INET;
	if (argc < 4 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
		return fprintf(stderr, "usage: netbench serve|rr|crr|sendfile|shell ADDRESS PORT [SECONDS|FILE|NAME]\n"), 2;
	address.sin_port = htons((uint16_t)atoi(argv[3]));
	if (!strcmp(what, "serve"))
		serve();
	else if (!strcmp(what, "rr"))
		exchange(atof(last));
	else if (!strcmp(what, "crr"))
		connections(atof(last));
	else if (!strcmp(what, "sendfile"))
		send_file(last);
	else if (!strcmp(what, "shell"))
		become_shell(last);
	return 0;
}
