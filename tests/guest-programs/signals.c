/* SPDX-License-Identifier: Apache-2.0 */
/* usage: signals CODE SIGNAL...: waits for one of these signals, says which, exits with CODE. Others act as they do by default. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	for (int i = 2; i < argc; i++)
		sigaddset(&set, atoi(argv[i]));
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("waiting");
	fflush(stdout);
	sigwait(&set, &got);
	printf("signal %d\n", got);
	return argc > 1 ? atoi(argv[1]) : 0;
}
