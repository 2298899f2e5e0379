/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a disk: look through /sys/block first, then again after every message of the kernel about devices. The socket
 * for those is opened before the first look, so that nothing can appear in between unseen.
 */
#include "guest/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define SERIAL_MAX 64 /* virtio: 20 bytes */
#define UEVENT_GROUP 1
#define FREE_POLL_MS 2

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = UEVENT_GROUP };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT), r;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static bool has_serial(const char *block, const char *serial)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t size;

	if (io_path(path, sizeof(path), "/sys/block/%s/serial", block) < 0 || io_read_file(path, SERIAL_MAX, &text, &size) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, serial) == 0;
}

/* 0 and the path of the node, or -ENOENT while it is not there. */
static int find(const char *serial, unsigned partition, char *ret_path, size_t size)
{
	struct dirent *entry;
	int r = -ENOENT;
	DIR *dir = opendir("/sys/block");

	if (!dir)
		return -errno;
	while (r < 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vd", 2) != 0 || !has_serial(entry->d_name, serial))
			continue;
		if (partition)
			r = io_path(ret_path, size, "/dev/%s%u", entry->d_name, partition);
		else
			r = io_path(ret_path, size, "/dev/%s", entry->d_name);
		if (r == 0 && access(ret_path, F_OK) < 0)
			r = -ENOENT;
	}
	closedir(dir);
	return r;
}

static void drain(int fd)
{
	char message[8192];

	while (recv(fd, message, sizeof(message), MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR)
		;
}

int disks_wait(const char *serial, unsigned partition, int timeout_ms, char *ret_path, size_t size)
{
	_cleanup_close_ int fd = open_uevents();
	int64_t deadline = now_ms() + timeout_ms;

	if (fd < 0)
		return fd;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now_ms();
		int r = find(serial, partition, ret_path, size);

		if (r != -ENOENT)
			return r;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		drain(fd);
	}
}

/* A mounted file system holds its device exclusively; nothing announces the release, so ask again. */
int disks_wait_free(const char *path, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;

	for (;;) {
		_cleanup_close_ int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

		if (fd >= 0)
			return 0;
		if (errno != EBUSY)
			return -errno;
		if (now_ms() >= deadline)
			return -ETIMEDOUT;
		poll(NULL, 0, FREE_POLL_MS);
	}
}
