/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a process.
 *
 * init --fork--> child (in the box's PID namespace) --execve--> the program
 *
 * A process is put into a PID namespace at fork: init sets the namespace for its children just around the fork. main's is
 * new; the others' is main's. The child then takes (main) or joins (others) the mount namespace, becomes who it shall be, and
 * runs the program. What goes wrong on the way is one struct setup_message; when all is well the socket closes at execve.
 *
 * Everything here runs in a single-threaded program, so the child of the fork may use the heap.
 */
#include "guest/process.h"

#include <a3s/agent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "guest/reaper.h"
#include "guest/terminal.h"
#include "guest/user.h"

#define ACCOUNT_FILE_MAX (1u << 20)
#define FILES_SOFT 65536
#define FILES_HARD 1048576
#define TEXT_MAX 1024

/* What the child says on its setup socket: a terminal's master (with the fd beside it), or why it failed. */
enum setup_kind { SETUP_TERMINAL = 1, SETUP_FAILED = 2 };

struct setup_message {
	int kind, code;
	char text[TEXT_MAX];
};

/**
 * struct pipes - both ends of a child's streams; -1 where there is none
 * @child:	stdin, stdout, stderr of the child
 * @ours:	the other ends
 */
struct pipes {
	int child[3], ours[3];
	int setup_child, setup_ours;
};
#define PIPES_NULL { .child = { -1, -1, -1 }, .ours = { -1, -1, -1 }, .setup_child = -1, .setup_ours = -1 }

static void close_ends(struct pipes *p, bool child, bool ours)
{
	for (int i = 0; i < 3; i++) {
		if (child)
			p->child[i] = close_fd(p->child[i]);
		if (ours)
			p->ours[i] = close_fd(p->ours[i]);
	}
	if (child)
		p->setup_child = close_fd(p->setup_child);
	if (ours)
		p->setup_ours = close_fd(p->setup_ours);
}

static int make_pipe(struct pipes *p, int i)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	p->child[i] = fds[i == 0 ? 0 : 1];
	p->ours[i] = fds[i == 0 ? 1 : 0];
	return io_set_nonblock(p->ours[i], true);
}

/* A terminal's streams are opened by the child itself, inside the box. */
static int make_pipes(struct pipes *p, const struct spec *spec)
{
	int fds[2], r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	p->setup_ours = fds[0];
	p->setup_child = fds[1];
	for (int i = 0; r == 0 && i < 3 && !spec->tty; i++) {
		if (i > 0 || spec->stdin_open)
			r = make_pipe(p, i);
		else
			r = p->child[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		r = r < 0 ? r : 0;
	}
	return r;
}

static void send_failure(int fd, const struct failure *f)
{
	struct setup_message message = { .kind = SETUP_FAILED, .code = f->code };

	snprintf(message.text, sizeof(message.text), "%s", f->text);
	(void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
}

/* docker's default bounding set: the VM is the boundary, this keeps images from surprising their own guest. */
static const int kept_capabilities[] = {
	CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FSETID,	    CAP_FOWNER,	    CAP_MKNOD, CAP_NET_RAW,   CAP_SETGID, CAP_SETUID,
	CAP_SETFCAP, CAP_SETPCAP,     CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL,  CAP_AUDIT_WRITE,
};

static bool is_kept(int capability)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept_capabilities); i++)
		if (kept_capabilities[i] == capability)
			return true;
	return false;
}

static int drop_capabilities(struct failure *f)
{
	for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (!is_kept(c) && prctl(PR_CAPBSET_DROP, c) < 0)
			return fail_errno(f, EXIT_USAGE, errno, "cannot drop capability %d", c);
	return 0;
}

static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_limits(void)
{
	struct rlimit files = { .rlim_cur = FILES_SOFT, .rlim_max = FILES_HARD };
	struct rlimit unlimited = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_NPROC, &unlimited);
	setrlimit(RLIMIT_CORE, &unlimited);
}

/* Init itself is exempt from the kernel's search for memory; the box is not. Needs init's /proc. */
static void allow_oom_kill(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "0", 1); /* fails only where init has no privilege: in tests */
	close(fd);
}

static int find_user(const struct spec *spec, struct user *ret, struct failure *f)
{
	_cleanup_free_ char *passwd = NULL, *group = NULL;
	size_t size;

	(void)io_read_file("/etc/passwd", ACCOUNT_FILE_MAX, &passwd, &size); /* absent: as empty */
	(void)io_read_file("/etc/group", ACCOUNT_FILE_MAX, &group, &size);
	return user_resolve(passwd ? passwd : "", group ? group : "", spec->user, ret, f);
}

/* The user must be able to open /dev/stdout anew (log files that are links to it), so the pipes become theirs. */
static void give_streams(const struct user *user)
{
	struct stat status;

	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &status) == 0 && status.st_uid != user->uid && !(S_ISCHR(status.st_mode) && !isatty(fd)))
			(void)!fchown(fd, user->uid, (gid_t)-1);
}

static int become(const struct user *user, struct failure *f)
{
	if (getuid() != 0 && user->uid == getuid())
		return 0; /* unit tests of an ordinary user */
	if (setgroups(user->n_groups, user->groups) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot become user %u", user->uid);
	return 0;
}

static int attach_streams(const int fds[static 3])
{
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			return -errno;
	return 0;
}

static int attach_terminal(int setup_fd, const struct spec *spec, bool main, struct failure *f)
{
	struct setup_message message = { .kind = SETUP_TERMINAL };
	struct terminal t = TERMINAL_NULL;
	int r = terminal_open(&t);

	if (r == 0)
		r = terminal_resize(t.master, spec->columns, spec->rows);
	if (r == 0 && ioctl(t.slave, TIOCSCTTY, 0) < 0)
		r = -errno;
	if (r == 0)
		r = attach_streams((const int[]){ t.slave, t.slave, t.slave });
	if (r == 0 && io_send_fds(setup_fd, &message, sizeof(message), &t.master, 1) < 0)
		r = -errno;
	if (r == 0 && main) {
		int tree = (int)syscall(SYS_open_tree, AT_FDCWD, t.name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

		r = tree < 0 ? -errno : mounts_bind(tree, "/dev/console");
		close_fd(tree);
	}
	close_fd(t.slave);
	close_fd(t.master);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot open a terminal") : 0;
}

static int fail_exec(struct failure *f, const char *name, int err)
{
	const char *text = strerror(err);

	return fail(f, err == ENOENT || err == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE, "exec: \"%s\": %s", name,
		    err == ENOENT   ? "no such file or directory"
		    : err == EACCES ? "permission denied"
		    : err == ENOEXEC ? "exec format error"
		    : err == EISDIR ? "is a directory"
				    : text);
}

/* 0 or an errno value. */
static int check_program(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return errno;
	if (S_ISDIR(status.st_mode))
		return EISDIR;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

/* An empty part of the search path is the working directory. */
static int find_program(const char *name, const char *search, char *ret, size_t size, struct failure *f)
{
	const char *end;
	int r;

	if (strchr(name, '/')) {
		r = check_program(name);
		return r ? fail_exec(f, name, r) : io_path(ret, size, "%s", name);
	}
	for (const char *dir = search; *name && dir; dir = *end ? end + 1 : NULL) {
		int n = (int)strcspn(dir, ":");

		end = dir + n;
		if (io_path(ret, size, "%.*s/%s", n ? n : 1, n ? dir : ".", name) == 0 && check_program(ret) == 0)
			return 0;
	}
	return fail(f, EXIT_NOT_FOUND, "exec: \"%s\": executable file not found in $PATH", name);
}

static int add_home(struct spec *spec, const struct user *user)
{
	_cleanup_free_ char *entry = NULL;

	if (spec_env(spec, "HOME", NULL))
		return 0;
	if (asprintf(&entry, "HOME=%s", user->home) < 0)
		return -ENOMEM;
	return strv_add(&spec->env, entry);
}

static int enter_directory(const struct spec *spec, bool main, struct failure *f)
{
	if (main)
		(void)io_make_dirs(spec->cwd, 0755); /* what went wrong shows in chdir */
	if (chdir(spec->cwd) < 0)
		return fail_errno(f, errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE, errno,
				  "cannot change to the working directory \"%s\"", spec->cwd);
	return 0;
}

/* Nothing of init's is kept: what is not marked already (an inherited console) is now. */
static int run_program(struct spec *spec, const struct user *user, struct failure *f)
{
	char path[PATH_MAX];

	if (add_home(spec, user) < 0)
		return fail(f, EXIT_USAGE, "out of memory");
	if (find_program(spec->argv[0], spec_env(spec, "PATH", AGENT_PATH_DEFAULT), path, sizeof(path), f) < 0)
		return -1;
	reset_signals();
	close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	execve(path, spec->argv, spec->env);
	return fail_exec(f, spec->argv[0], errno);
}

/* With a reaper, the program is its child: in a process group of its own, which has the terminal. */
static int fork_reaper(const struct spec *spec, struct failure *f)
{
	sigset_t all;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pid = fork();
	if (pid < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot start the box's reaper");
	if (pid > 0) {
		close_range(3, UINT_MAX, 0);
		reaper_run(pid);
	}
	if (setpgid(0, 0) == 0 && spec->tty)
		(void)tcsetpgrp(STDIN_FILENO, getpid());
	return 0;
}

/* main may have ended though nobody has reaped it yet: its namespaces take nobody in any more, with ESRCH or ENOMEM. */
static int fail_join(struct failure *f, int err)
{
	if (err == ESRCH)
		return fail(f, EXIT_FAILED, "the box is not running");
	return fail_errno(f, EXIT_USAGE, err, "cannot start a process in the box");
}

static bool is_over(const struct process *process)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

static int enter_box(const struct process_table *table, const struct spec *spec, bool main, int main_pidfd, struct failure *f)
{
	if (!table->isolate)
		return 0;
	if (!main)
		return setns(main_pidfd, CLONE_NEWNS) < 0 ? fail_join(f, errno) : 0;
	if (unshare(CLONE_NEWNS) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot separate the box's mounts");
	return mounts_enter(table->plan, spec->privileged, f);
}

/* The child, from fork to execve. Returns only when it failed. */
static int child_main(const struct process_table *table, struct spec *spec, bool main, int main_pidfd, struct pipes *p,
		      struct failure *f)
{
	struct user user;
	int r;

	close_ends(p, false, true);
	setsid();
	allow_oom_kill();
	umask(0);
	if (enter_box(table, spec, main, main_pidfd, f) < 0)
		return -1;
	r = spec->tty ? attach_terminal(p->setup_child, spec, main, f) : attach_streams(p->child);
	if (r < 0)
		return spec->tty ? -1 : fail_errno(f, EXIT_USAGE, r, "cannot set up the streams");
	umask(022);
	if (enter_directory(spec, main, f) < 0)
		return -1;
	if (table->isolate && main && mounts_seal(table->plan, f) < 0)
		return -1;
	if (find_user(spec, &user, f) < 0)
		return -1;
	give_streams(&user);
	set_limits();
	if (main && spec->init && fork_reaper(spec, f) < 0)
		return -1;
	if (table->isolate && !spec->privileged && drop_capabilities(f) < 0)
		return -1;
	if (become(&user, f) < 0)
		return -1;
	return run_program(spec, &user, f);
}

/* Make the PID namespace for the next child; back to init's own with process_leave_ns(). */
static int enter_pid_ns(struct process_table *table, bool main, struct failure *f)
{
	if (!table->isolate)
		return 0;
	if (table->own_pid_ns < 0)
		table->own_pid_ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (table->own_pid_ns < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot open the PID namespace");
	if (main ? unshare(CLONE_NEWPID) < 0 : setns(table->pid_ns, CLONE_NEWPID) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot enter the box's PID namespace");
	return 0;
}

/* After the fork: the namespace made for main exists once its first process does. */
static void leave_pid_ns(struct process_table *table, bool main)
{
	if (!table->isolate)
		return;
	if (main)
		table->pid_ns = open("/proc/self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	(void)setns(table->own_pid_ns, CLONE_NEWPID);
}

static struct process *new_process(struct process_table *table, const struct spec *spec, bool main)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	*process = (struct process){ .setup_fd = -1, .in_fd = -1, .out_fd = -1, .err_fd = -1, .tty = spec->tty, .main = main };
	process->next = table->list;
	table->list = process;
	if (main)
		table->main = process;
	return process;
}

/* Number of processes that the kernel has killed for want of memory since it started. */
static uint64_t count_oom_kills(void)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	size_t size;

	if (io_read_file("/proc/vmstat", 1u << 16, &text, &size) < 0)
		return 0;
	line = strstr(text, "\noom_kill ");
	return line ? strtoull(line + strlen("\noom_kill "), NULL, 10) : 0;
}

static pid_t fork_child(struct process_table *table, struct spec *spec, bool main, struct pipes *p)
{
	_cleanup_close_ int main_pidfd = -1;
	struct failure f = { 0 };
	pid_t pid;

	if (!main && table->isolate) {
		main_pidfd = (int)syscall(SYS_pidfd_open, table->main->pid, 0);
		if (main_pidfd < 0)
			return -1;
	}
	pid = fork();
	if (pid != 0)
		return pid;
	(void)child_main(table, spec, main, main_pidfd, p, &f);
	send_failure(p->setup_child, &f);
	_exit(f.code);
}

int process_start(struct process_table *table, struct spec *spec, bool main, struct process **ret, struct failure *f)
{
	struct pipes p = PIPES_NULL;
	struct process *process;
	int r = make_pipes(&p, spec);

	if (r < 0) {
		close_ends(&p, true, true);
		return fail_errno(f, EXIT_USAGE, r, "cannot make the streams");
	}
	if (main)
		table->oom_kills = count_oom_kills();
	process = enter_pid_ns(table, main, f) == 0 ? new_process(table, spec, main) : NULL;
	if (!process) {
		close_ends(&p, true, true);
		return f->code ? -1 : fail(f, EXIT_USAGE, "out of memory");
	}
	process->pid = fork_child(table, spec, main, &p);
	r = -errno;
	leave_pid_ns(table, main);
	close_ends(&p, true, process->pid < 0);
	if (process->pid < 0) {
		process_free(table, process);
		return fail_join(f, !main && table->main && is_over(table->main) ? ESRCH : -r);
	}
	process->setup_fd = p.setup_ours;
	process->in_fd = p.ours[0];
	process->out_fd = p.ours[1];
	process->err_fd = p.ours[2];
	*ret = process;
	return 0;
}

static int take_terminal(struct process *process, int *fds, size_t n_fds, struct failure *f)
{
	if (n_fds != 1)
		return fail(f, EXIT_USAGE, "the terminal was lost");
	(void)io_set_nonblock(fds[0], true);
	process->out_fd = fds[0];
	process->in_fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	return process->in_fd < 0 ? fail_errno(f, EXIT_USAGE, errno, "cannot share the terminal") : 1;
}

int process_finish_setup(struct process *process, struct failure *f)
{
	struct setup_message message;
	size_t n_fds = 1;
	int fds[1];
	ssize_t n = io_recv_fds(process->setup_fd, &message, sizeof(message), fds, &n_fds);

	if (n == (ssize_t)sizeof(message) && message.kind == SETUP_TERMINAL)
		return take_terminal(process, fds, n_fds, f);
	process->setup_fd = close_fd(process->setup_fd);
	if (n == (ssize_t)sizeof(message))
		return fail(f, message.code, "%.*s", TEXT_MAX, message.text);
	return n == 0 ? 0 : fail(f, EXIT_USAGE, "the process ended before it was started");
}

/* As a shell's: code, or 128 + signal. */
static int process_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

void process_reap(struct process_table *table, void (*ended)(struct process *process))
{
	struct process *p;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (p = table->list; p && (p->pid != pid || p->ended); p = p->next)
			;
		if (!p)
			continue;
		p->ended = true;
		p->status = process_status(status);
		p->oom = p->main && p->status == 128 + SIGKILL && count_oom_kills() > table->oom_kills;
		ended(p);
	}
}

int process_signal(const struct process *process, int signal)
{
	if (process->ended)
		return -ESRCH;
	return kill(process->pid, signal) < 0 ? -errno : 0;
}

struct process *process_free(struct process_table *table, struct process *process)
{
	struct process **p;

	if (!process)
		return NULL;
	for (p = &table->list; *p && *p != process; p = &(*p)->next)
		;
	if (*p)
		*p = process->next;
	if (table->main == process)
		table->main = NULL;
	close_fd(process->setup_fd);
	close_fd(process->in_fd);
	close_fd(process->out_fd);
	close_fd(process->err_fd);
	frame_buffer_deinit(&process->unsent);
	free(process);
	return NULL;
}
