/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"

#define OUTPUT_MAX (64u << 10)
#define CHILD_FD_ROOM 256 /* targets lie below, copies are parked above */

extern char **environ;

/* Between fork and exec: async-signal-safe calls only. */

static int child_std_fds(const struct proc_spec *spec)
{
	const int wanted[] = { spec->stdin_fd, spec->stdout_fd, spec->stderr_fd };
	int parked[3];

	for (int i = 0; i < 3; i++) {
		int fd = wanted[i] < 0 ? open("/dev/null", O_RDWR) : wanted[i];

		parked[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD, CHILD_FD_ROOM);
		if (parked[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(parked[i], i) < 0)
			return -errno;
	return 0;
}

/* Park copies high first, so that no target number overwrites a source that is still needed. */
static int child_fds(const struct proc_spec *spec, int *report_fd)
{
	int parked[64], r;

	if (spec->n_fds > ARRAY_SIZE(parked))
		return -EINVAL;
	for (size_t i = 0; i < spec->n_fds; i++) {
		if (spec->fds[i].child < 3 || spec->fds[i].child >= CHILD_FD_ROOM)
			return -EINVAL;
		parked[i] = fcntl(spec->fds[i].parent, F_DUPFD_CLOEXEC, CHILD_FD_ROOM);
		if (parked[i] < 0)
			return -errno;
	}
	*report_fd = fcntl(*report_fd, F_DUPFD_CLOEXEC, CHILD_FD_ROOM);
	if (*report_fd < 0)
		return -errno;
	r = child_std_fds(spec);
	if (r < 0)
		return r;
	(void)syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC); /* none survives exec but those made below */
	for (size_t i = 0; i < spec->n_fds; i++)
		if (dup2(parked[i], spec->fds[i].child) < 0)
			return -errno;
	return 0;
}

static int child_identity(const struct proc_spec *spec)
{
	if (spec->uid == (uid_t)-1)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
	    setresuid(spec->uid, spec->uid, spec->uid) < 0)
		return -errno;
	return 0;
}

static void child_signals(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &standard, NULL); /* KILL and STOP refuse */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_run(const struct proc_spec *spec, pid_t parent, int report_fd)
{
	union {
		const char *const *in;
		char *const *out;
	} argv = { .in = spec->argv }; /* execvpe does not write to it */
	int r = 0;

	if (spec->new_session && setsid() < 0)
		r = -errno;
	if (r == 0)
		r = child_fds(spec, &report_fd);
	child_signals();
	if (r == 0)
		r = child_identity(spec);
	/* After the change of identity, which clears it; then look whether the parent died before it was set. */
	if (r == 0 && spec->die_with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		r = -ESRCH;
	if (r == 0) {
		execvpe(argv.out[0], argv.out, spec->envp ? spec->envp : environ);
		r = -errno;
	}
	(void)!write(report_fd, &r, sizeof(r));
	_exit(127);
}

static void kill_and_reap(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Without one the caller could neither watch nor end the child: then there shall be none. */
static int open_pidfd(pid_t pid, int *ret)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int r = fd < 0 ? -errno : 0;

	if (r < 0)
		kill_and_reap(pid);
	else
		*ret = fd;
	return r;
}

int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, int *ret_pidfd)
{
	int report[2], r = 0;
	pid_t parent = getpid(), pid;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child_run(spec, parent, report[1]);
	if (pid < 0)
		r = -errno;
	close(report[1]);
	do {
		n = pid < 0 ? 0 : read(report[0], &r, sizeof(r));
	} while (n < 0 && errno == EINTR);
	close(report[0]);
	if (n > 0)
		(void)waitpid(pid, NULL, 0);
	if (r < 0)
		return r;
	r = ret_pidfd ? open_pidfd(pid, ret_pidfd) : 0;
	if (r == 0)
		*ret_pid = pid;
	return r;
}

static int wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reads to the end but keeps only the first part, so that the child never blocks. */
static int collect_output(int fd, char **ret_output)
{
	_cleanup_free_ char *text = calloc(1, OUTPUT_MAX + 1);
	char rest[4096];
	size_t size = 0;

	if (!text)
		return -ENOMEM;
	for (;;) {
		bool full = size == OUTPUT_MAX;
		ssize_t n = read(fd, full ? rest : text + size, full ? sizeof(rest) : OUTPUT_MAX - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!full)
			size += (size_t)n;
	}
	*ret_output = take_ptr(text);
	return 0;
}

int proc_run(const char *const *argv, char **ret_output)
{
	struct proc_spec spec = PROC_SPEC_NULL;
	int out[2] = { -1, -1 }, r;
	pid_t pid = 0;

	if (ret_output && pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	spec.argv = argv;
	spec.stdout_fd = spec.stderr_fd = out[1];
	spec.die_with_parent = true;
	r = proc_spawn(&spec, &pid, NULL);
	close_fd(out[1]);
	if (r == 0 && ret_output)
		r = collect_output(out[0], ret_output);
	close_fd(out[0]);
	if (r < 0 && pid > 0)
		kill_and_reap(pid);
	return r < 0 ? r : wait_status(pid);
}

static int own_directory(char ret[static PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	ret[n] = '\0';
	slash = strrchr(ret, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

static bool found(char *ret_path, size_t size, int mode, const char *dir, const char *between, const char *name)
{
	return io_path(ret_path, size, "%s%s%s", dir, between, name) == 0 && access(ret_path, mode) == 0;
}

int proc_find_program(const char *name, char *ret_path, size_t size)
{
	const char *part = strncmp(name, "a3s-box-", 8) == 0 ? name + 8 : "cli";
	char dir[PATH_MAX], build[64];
	int r = own_directory(dir);

	if (r < 0)
		return r;
	(void)snprintf(build, sizeof(build), "/../%s/", part); /* the build tree: src/<part>/ */
	if (found(ret_path, size, X_OK, dir, "/", name) || found(ret_path, size, X_OK, dir, build, name) ||
	    found(ret_path, size, X_OK, A3S_LIBEXECDIR, "/", name))
		return 0;
	(void)io_path(ret_path, size, "%s/%s", A3S_LIBEXECDIR, name);
	return -ENOENT;
}

int proc_find_data(const char *name, char *ret_path, size_t size)
{
	const char *given = getenv("A3S_GUEST_DIR");
	char dir[PATH_MAX];
	int r;

	if (given)
		return found(ret_path, size, R_OK, given, "/", name) ? 0 : -ENOENT;
	r = own_directory(dir);
	if (r < 0)
		return r;
	if (found(ret_path, size, R_OK, dir, "/../guest/", name) || found(ret_path, size, R_OK, A3S_DATADIR, "/guest/", name))
		return 0;
	(void)io_path(ret_path, size, "%s/guest/%s", A3S_DATADIR, name);
	return -ENOENT;
}
