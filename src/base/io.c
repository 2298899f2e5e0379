/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/own.h"

#define FDS_MAX 16

int io_write_full(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int io_read_full(int fd, void *data, size_t size)
{
	char *p = data;

	while (size) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Reads to the end whatever fstat says: files under /proc have size 0. */
int io_read_file(const char *path, size_t max, char **ret_text, size_t *ret_size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t size = 0, room = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		if (room - size < 2) {
			char *more = realloc(text, room ? room * 2 : 4096);

			if (!more)
				return -ENOMEM;
			text = more;
			room = room ? room * 2 : 4096;
		}
		n = read(fd, text + size, room - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
		if (size > max)
			return -EFBIG;
	}
	text[size] = '\0';
	*ret_text = take_ptr(text);
	if (ret_size)
		*ret_size = size;
	return 0;
}

static int sync_parent(const char *path)
{
	char parent[PATH_MAX];
	char *slash;
	_cleanup_close_ int fd = -1;
	int r = io_path(parent, sizeof(parent), "%s", path);

	if (r < 0)
		return r;
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent ? 1 : 0] = '\0';
	fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int write_new_file(const char *path, const void *data, size_t size, mode_t mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_full(fd, data, size);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	return r;
}

int io_replace_file(const char *path, const void *data, size_t size, mode_t mode)
{
	char temporary[PATH_MAX];
	int r = io_path(temporary, sizeof(temporary), "%s.%d.new", path, (int)getpid());

	if (r < 0)
		return r;
	(void)unlink(temporary); /* of a process with our number that died half way */
	r = write_new_file(temporary, data, size, mode);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(temporary);
		return r;
	}
	return sync_parent(path);
}

int io_make_dirs(const char *path, mode_t mode)
{
	char partial[PATH_MAX];
	int r = io_path(partial, sizeof(partial), "%s", path);

	if (r < 0)
		return r;
	for (char *p = partial + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(partial, mode) < 0 && errno != EEXIST) {
			struct stat st;
			int err = errno;

			/* EROFS and EACCES also for a directory that is there */
			if (stat(partial, &st) < 0 || !S_ISDIR(st.st_mode))
				return -err;
		}
		if (c == '\0')
			return 0;
		*p = c;
	}
}

static int remove_children(int dir_fd);

static int remove_entry(int parent_fd, const char *name)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = remove_children(fd);
	if (r == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	return r;
}

static int remove_children(int dir_fd)
{
	int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3), r = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!dir) {
		r = -errno;
		close_fd(copy);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = remove_entry(dir_fd, entry->d_name);
	closedir(dir);
	return r;
}

int io_remove_tree(const char *path)
{
	return remove_entry(AT_FDCWD, path);
}

int io_path(char *ret_path, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(ret_path, size, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/*
 * A path longer than sun_path is reached through its directory: /proc/self/fd/N/name. *ret_dir_fd, when not -1, must stay open
 * until the address was used.
 */
static int unix_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int r;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_dir_fd = -1;
	if (strlen(path) < sizeof(ret->sun_path)) {
		memcpy(ret->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!slash)
		return -ENAMETOOLONG;
	r = io_path(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	if (r < 0)
		return r;
	*ret_dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir_fd < 0)
		return -errno;
	return io_path(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", *ret_dir_fd, slash + 1);
}

int io_unix_listen(const char *path, mode_t mode)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir_fd = -1;
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return -errno;
	r = unix_address(path, &address, &dir_fd);
	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	/* fchmod on the socket sets the mode that bind gives the file: nobody can connect in between */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, mode) < 0 || listen(fd, 128) < 0)
		return -errno;
	return take_fd(&fd);
}

int io_unix_connect(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir_fd = -1;
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return -errno;
	r = unix_address(path, &address, &dir_fd);
	if (r < 0)
		return r;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return take_fd(&fd);
}

union fd_room {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

ssize_t io_send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds)
{
	union {
		const void *in;
		void *out;
	} bytes = { .in = data }; /* sendmsg only reads */
	struct iovec iov = { .iov_base = bytes.out, .iov_len = size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	union fd_room room = { 0 };
	ssize_t n;

	if (n_fds > FDS_MAX)
		return -EINVAL;
	if (n_fds) {
		message.msg_control = room.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		room.header.cmsg_level = SOL_SOCKET;
		room.header.cmsg_type = SCM_RIGHTS;
		room.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&room.header), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Keep what fits, close what does not: a sender cannot make us leak. */
static void collect_fds(struct msghdr *message, int *ret_fds, size_t room, size_t *n_fds)
{
	*n_fds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*n_fds < room)
				ret_fds[(*n_fds)++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t io_recv_fds(int sock, void *data, size_t size, int *ret_fds, size_t *n_fds)
{
	struct iovec iov = { .iov_base = data, .iov_len = size };
	union fd_room room;
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		.msg_controllen = sizeof(room.bytes),
	};
	ssize_t n;

	do {
		n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		*n_fds = 0;
		return -errno;
	}
	collect_fds(&message, ret_fds, *n_fds, n_fds);
	return n;
}

int io_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* Open file description locks: unlike flock(), they can be asked about without being taken for a moment. */
int io_lock(int fd, bool wait)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

bool io_is_locked(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
