/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the guest: set up what every box needs, then serve the host (include/a3s/agent.h) until it says "shutdown".
 *
 * It never exits. What it cannot do without ends in one line on the console and the power off; so does a fault of its own.
 * Its parameters on the kernel's command line are in include/a3s/kernel.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "a3s/kernel.h"
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest/agent.h"
#include "guest/modules.h"
#include "guest/mounts.h"
#include "guest/network.h"

#define CONSOLE "/dev/console"
#define FILES_MAX 8192
#define HASH_SEED 1   /* the host alone sends objects */
#define FAREWELL_MS 200 /* how long the host has to close its connections before the power goes */

static bool print_times;

static void say(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
}

static void power_off(void) __attribute__((noreturn));
static void power_off(void)
{
	for (;;) {
		reboot(RB_POWER_OFF);
		pause();
	}
}

static void panic(const char *what, int err) __attribute__((noreturn));
static void panic(const char *what, int err)
{
	char line[256];

	snprintf(line, sizeof(line), "a3s-init: %s: %s; powering off\n", what, strerror(err < 0 ? -err : err));
	say(line);
	power_off();
}

static void on_fault(int signal)
{
	say("a3s-init: fault in init; powering off\n");
	power_off();
}

static void require(const char *what, int r)
{
	struct timespec now;
	char line[128];

	if (r < 0)
		panic(what, r);
	if (!print_times)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(line, sizeof(line), "a3s-init: %6ld.%03ld ms %s\n", (long)(now.tv_sec * 1000 + now.tv_nsec / 1000000),
		 (long)(now.tv_nsec / 1000 % 1000), what);
	say(line);
}

/* The kernel gives us its console, or nothing at all: 0, 1 and 2 must be taken either way. */
static void open_streams(void)
{
	int fd = open(CONSOLE, O_RDWR | O_NOCTTY);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void guard_ourselves(void)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct rlimit files = { .rlim_cur = FILES_MAX, .rlim_max = FILES_MAX };
	struct sigaction action = { .sa_handler = on_fault };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "-1000", 5);
	close_fd(fd);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigaction(faults[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &files);
	prctl(PR_SET_DUMPABLE, 0);
	umask(022);
}

static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; (p = strstr(p, word)); p += n)
		if ((p == line || p[-1] == ' ') && (p[n] == '\0' || p[n] == ' ' || p[n] == '\n'))
			return true;
	return false;
}

static void on_child(struct loop_io *io, uint32_t events)
{
	struct signalfd_siginfo info;

	while (read(io->fd, &info, sizeof(info)) > 0)
		;
}

/* Children are reaped after every turn, so the signal only has to wake the loop. */
static int watch_children(struct loop *loop, struct loop_io *io)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : loop_io_add(loop, io, fd, EPOLLIN, on_child);
}

static void serve(struct agent *agent)
{
	struct timespec now;
	int64_t deadline;

	while (!agent->stopping) {
		if (loop_turn(agent->loop, -1) < 0)
			panic("waiting for events", EIO);
		agent_reap(agent);
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec * 1000 + now.tv_nsec / 1000000 + FAREWELL_MS;
	while (agent->n_conversations && loop_now_ms(agent->loop) < deadline)
		(void)loop_turn(agent->loop, FAREWELL_MS / 10);
}

int main(void)
{
	_cleanup_free_ char *cmdline = NULL;
	struct loop_io children = LOOP_IO_NULL;
	struct agent agent;
	struct loop *loop;
	size_t size;

	if (getpid() != 1)
		return 1;
	open_streams();
	log_open("a3s-init");
	require("mounting /proc, /sys, /dev", mounts_system());
	if (io_read_file("/proc/cmdline", 4096, &cmdline, &size) == 0)
		print_times = has_word(cmdline, KERNEL_INIT_TIMES);
	open_streams();
	guard_ourselves();
	require("starting", 0);
	require("loading modules", modules_load_list(MODULES_BOOT));
	require("bringing up lo", network_up_loopback());
	require("making the event loop", loop_new(&loop));
	require("watching children", watch_children(loop, &children));
	/* Otherwise jansson asks the kernel for a seed, which without hardware's help takes a second to have one. */
	json_object_seed(HASH_SEED);
	agent_init(&agent, loop, true);
	require("listening for the host", agent_listen(&agent));
	if (cmdline && has_word(cmdline, KERNEL_INIT_POWEROFF)) {
		say(KERNEL_INIT_UP "\n");
		power_off();
	}
	serve(&agent);
	power_off();
}
