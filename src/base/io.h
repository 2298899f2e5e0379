/* SPDX-License-Identifier: Apache-2.0 */
/* Files, directories and sockets: what libc leaves to be written around a system call. All fds made here are CLOEXEC. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whole transfers on blocking fds. Returns 0 or a negative errno; io_read_full gives -ENODATA at an early end. */
int io_write_full(int fd, const void *data, size_t size);
int io_read_full(int fd, void *data, size_t size);

/* Whole file as a NUL-terminated string; -EFBIG above `max`. Caller frees. */
int io_read_file(const char *path, size_t max, char **ret_text, size_t *ret_size);
/* Write a temporary beside `path`, fsync, rename over it, fsync the directory: a reader never sees half a file. */
int io_replace_file(const char *path, const void *data, size_t size, mode_t mode);

/* Like mkdir -p; directories made get `mode`. Existing ones are fine. */
int io_make_dirs(const char *path, mode_t mode);
/* Remove a tree without following links out of it. A missing path is 0. */
int io_remove_tree(const char *path);
/* printf into a path buffer of `size` bytes; -ENAMETOOLONG when it does not fit. */
int io_path(char *ret_path, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* AF_UNIX stream sockets, close-on-exec. Paths longer than sun_path (108 bytes) work through /proc/self/fd. */
int io_unix_listen(const char *path, mode_t mode);
int io_unix_connect(const char *path);
/* One message with up to 16 fds over an AF_UNIX socket. recv: fds arrive CLOEXEC, *n_fds is room on entry, count on exit. */
ssize_t io_send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds);
ssize_t io_recv_fds(int sock, void *data, size_t size, int *ret_fds, size_t *n_fds);
int io_set_nonblock(int fd, bool on);

/* Lock held by the open file description, gone when its last holder dies. The fd is open for writing (so no directory).
 * 0, or -EAGAIN when another holds it. */
int io_lock(int fd, bool wait);
/* Whether somebody else holds the lock on this file; asking never takes it. A missing file is "no". */
bool io_is_locked(const char *path);
