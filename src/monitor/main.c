/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a3s-box-monitor --box ID [--start-fd N]
 *
 * One per box: its whole life. A session of its own, nothing on its standard streams but a short log in the box's directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "life.h"

struct monitor {
	struct life life;
	struct loop_io signals;
	int signal_fd;
};

/* Kept short by children.c. */
static int open_log(const struct home *home, const char *id)
{
	char path[PATH_MAX];

	if (box_path(home, id, "monitor.log", path) < 0)
		return -1;
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* New with every start; not before the box is ours, since it may be that of one that runs. */
static void begin_log(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		(void)!ftruncate(STDERR_FILENO, 0);
}

/* Away from the terminal and the session of whoever started us. */
static void daemonise(const struct home *home, const char *id)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = open_log(home, id);

	if (setsid() < 0 && getsid(0) != getpid()) {
		if (fork() > 0)
			_exit(0);
		setsid();
	}
	(void)!chdir("/");
	umask(077);
	dup2(null, 0);
	dup2(null, 1);
	dup2(log >= 0 ? log : null, 2);
}

static void on_signal(struct loop_io *io, uint32_t events)
{
	struct monitor *m = container_of(io, struct monitor, signals);
	struct signalfd_siginfo info;

	if (read(m->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTERM)
		life_stop(&m->life, m->life.config.stop_signal ? m->life.config.stop_signal : SIGTERM, m->life.config.stop_timeout);
}

static int watch_signals(struct monitor *m)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < 4; i++)
		sigaddset(&set, (const int[]){ SIGTERM, SIGINT, SIGHUP, SIGPIPE }[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0)
		return -errno;
	return loop_io_add(m->life.loop, &m->signals, m->signal_fd, EPOLLIN, on_signal);
}

/* Every port in both families and protocols, as many connections as a box may have, and some. */
#define FILES_WANTED (1 << 19)

/* A published port is two sockets, and thousands may be asked for. The vsock process inherits the limit. */
static void raise_file_limit(void)
{
	struct rlimit limit, more = { FILES_WANTED, FILES_WANTED };

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || (limit.rlim_max < FILES_WANTED && setrlimit(RLIMIT_NOFILE, &more) == 0))
		return; /* the latter is root's privilege */
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int monitor_run(struct monitor *m, const char *id, int start_fd, struct failure *f)
{
	int r = loop_new(&m->life.loop);

	raise_file_limit();
	if (r == 0)
		r = watch_signals(m);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot start the monitor");
	if (life_announce(&m->life, id, f) < 0)
		return -1;
	begin_log();
	r = life_serve(&m->life, start_fd);
	if (r == 0)
		r = loop_run(m->life.loop);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "the monitor failed") : 0;
}

/* Nobody listens on the conversation yet: the one frame that says why nothing comes of it. */
static void tell_early_failure(int start_fd, const struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	json_t *message = json_pack("{s:s,s:s,s:i}", "event", "failed", "error", f->text, "code", f->code);

	text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	if (text && start_fd >= 0)
		frame_write(start_fd, FRAME_REPLY, text, strlen(text));
}

static int parse(int argc, char **argv, const char **ret_id, int *ret_fd)
{
	static const struct option options[] = {
		{ "box", required_argument, NULL, 'b' },
		{ "start-fd", required_argument, NULL, 's' },
		{ 0 },
	};
	int64_t fd;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'b' && strlen(optarg) == BOX_ID_LENGTH)
			*ret_id = optarg;
		else if (c == 's' && text_to_int(optarg, 3, 1 << 20, &fd) == 0)
			*ret_fd = (int)fd;
		else
			return -1;
	}
	return optind == argc && *ret_id ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct monitor m = { .life = LIFE_NULL, .signals = LOOP_IO_NULL, .signal_fd = -1 };
	struct failure failure = { 0 };
	const char *id = NULL;
	int start_fd = -1, r;

	log_open("a3s-box-monitor");
	if (parse(argc, argv, &id, &start_fd) < 0) {
		fprintf(stderr, "usage: a3s-box-monitor --box ID [--start-fd N]\n");
		return EXIT_USAGE;
	}
	if (start_fd >= 0 && fcntl(start_fd, F_SETFD, FD_CLOEXEC) < 0)
		return EXIT_USAGE;
	r = home_open(&m.life.home, &failure);
	if (r == 0) {
		daemonise(&m.life.home, id);
		r = monitor_run(&m, id, start_fd, &failure);
	}
	if (r < 0) {
		log_error("%s", failure.text);
		tell_early_failure(m.life.start.fd >= 0 ? -1 : start_fd, &failure);
	}
	life_deinit(&m.life);
	loop_free(m.life.loop);
	home_close(&m.life.home);
	return r < 0 ? failure.code : 0;
}
