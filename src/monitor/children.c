/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "children.h"

/* Our own programs say at which level they speak; what others write to stderr is worth a look. */
static void child_log_line(const struct child *child)
{
	const char *line = child->line;
	enum log_level level = LOG_LEVEL_WARN;

	if (line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>') {
		level = line[1] <= '3' ? LOG_LEVEL_ERROR : line[1] == '4' ? LOG_LEVEL_WARN : line[1] <= '6' ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
		line += 3;
	}
	if (log_wants(level))
		log_write(level, "%s: %s", child->name, line);
}

static void child_take_line(struct child *child)
{
	child->line[child->line_size] = '\0';
	if (child->line_size) {
		memcpy(child->last, child->line, child->line_size + 1);
		if (child->logged < CHILD_LOG_MAX)
			child_log_line(child);
		child->logged += child->line_size;
	}
	child->line_size = 0;
}

static void child_take_bytes(struct child *child, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char c = data[i];

		if (c == '\n' || child->line_size == sizeof(child->line) - 1)
			child_take_line(child);
		if (c != '\n')
			child->line[child->line_size++] = (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c;
	}
}

/* At most 64 KiB a turn, so that a chattering child does not starve the loop. */
static void child_read_stderr(struct child *child)
{
	char data[4096];

	for (int i = 0; i < 16; i++) {
		ssize_t n = read(child->stderr_fd, data, sizeof(data));

		if (n > 0) {
			child_take_bytes(child, data, (size_t)n);
			continue;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			loop_io_remove(&child->stderr_io);
			child->stderr_fd = close_fd(child->stderr_fd);
		}
		return;
	}
}

static void child_on_stderr(struct loop_io *io, uint32_t events)
{
	child_read_stderr(container_of(io, struct child, stderr_io));
}

static void child_forget(struct child *child)
{
	if (child->stderr_fd >= 0)
		child_read_stderr(child);
	child_take_line(child);
	loop_io_remove(&child->exit_io);
	loop_io_remove(&child->stderr_io);
	child->pidfd = close_fd(child->pidfd);
	child->stderr_fd = close_fd(child->stderr_fd);
	child->pid = 0;
}

static void child_on_exit(struct loop_io *io, uint32_t events)
{
	struct child *child = container_of(io, struct child, exit_io);
	siginfo_t info = { 0 };
	int status;

	if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 || !info.si_pid)
		return;
	status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	child_forget(child);
	child->ended(child, status);
}

/* Each child may log CHILD_LOG_MAX, but a guest may have a hand in how many there are. */
static void trim_log(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 4 * CHILD_LOG_MAX)
		(void)!ftruncate(STDERR_FILENO, 0);
}

int child_start(struct child *child, struct loop *loop, const char *name, struct proc_spec *spec, child_ended_fn ended)
{
	_cleanup_close_ int write_end = -1;
	int pipe_fds[2], r;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	write_end = pipe_fds[1];
	trim_log();
	*child = (struct child)CHILD_NULL;
	child->name = name;
	child->loop = loop;
	child->ended = ended;
	child->stderr_fd = pipe_fds[0];
	spec->stderr_fd = write_end;
	spec->die_with_parent = true;
	r = fcntl(child->stderr_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : proc_spawn(spec, &child->pid, &child->pidfd);
	if (r < 0) {
		child->pid = 0;
		child->stderr_fd = close_fd(child->stderr_fd);
		return r;
	}
	r = loop_io_add(loop, &child->exit_io, child->pidfd, EPOLLIN, child_on_exit);
	if (r == 0)
		r = loop_io_add(loop, &child->stderr_io, child->stderr_fd, EPOLLIN, child_on_stderr);
	if (r < 0)
		child_end(child);
	return r;
}

void child_signal(struct child *child, int signal)
{
	if (child->pid)
		syscall(SYS_pidfd_send_signal, child->pidfd, signal, NULL, 0);
}

void child_end(struct child *child)
{
	siginfo_t info;

	if (!child->pid)
		return;
	child_signal(child, SIGKILL);
	while (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	child_forget(child);
}
