/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when the child itself has ended. */
static bool reap(pid_t child, int *ret_status)
{
	bool over = false;
	pid_t pid;
	int status = 255;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != child)
			continue;
		*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		over = true;
	}
	return over;
}

void reaper_run(pid_t child)
{
	siginfo_t info;
	sigset_t all;
	int status = 255;

	prctl(PR_SET_NAME, "a3s-reaper");
	sigfillset(&all);
	for (;;) {
		if (sigwaitinfo(&all, &info) < 0 && errno != EINTR)
			_exit(255);
		if (info.si_signo != SIGCHLD)
			kill(child, info.si_signo);
		else if (reap(child, &status))
			_exit(status);
	}
}
