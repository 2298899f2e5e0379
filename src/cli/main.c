/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/own.h"
#include "cli/command.h"

/* docker's commands that we do not have yet; `network` and the like are groups. */
static const char *const later[] = {
	"builder", "build", "buildx", "commit", "compose", "config", "context", "cp", "diff", "events", "export", "history",
	"import", "manifest", "network", "node", "pause", "plugin", "push", "rename", "save", "search", "secret", "service",
	"stack", "swarm", "system", "top", "trust", "unpause", "update", "volume",
};

/* The same in its groups. */
static const char *const later_grouped[] = {
	"image build", "image history", "image import", "image prune", "image push", "image save", "container commit",
	"container cp", "container diff", "container export", "container pause", "container prune", "container rename",
	"container top", "container unpause", "container update",
};

static bool is_among(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

static int fail_unknown(const char *word)
{
	const struct command *nearest = command_nearest(word);
	struct failure f = { 0 };

	if (is_among(later, ARRAY_SIZE(later), word))
		fail(&f, EXIT_USAGE, "not supported yet: %s", word);
	else if (nearest)
		fail(&f, EXIT_USAGE, "unknown command: %s; the nearest that exists is \"%s\"", word, nearest->name);
	else
		fail(&f, EXIT_USAGE, "unknown command: %s; --help lists the commands", word);
	return cli_report(&f);
}

/* `image ls`, `container rm`: argv begins with the group. */
static int run_grouped(struct cli *cli, char **argv)
{
	const struct command *command = argv[1] ? command_find_grouped(argv[0], argv[1]) : NULL;
	struct failure f = { 0 };
	char both[80];

	if (command)
		return command_run(command, cli, argv + 1);
	if (!argv[1] || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		command_print_group(argv[0]);
		return EXIT_DONE;
	}
	snprintf(both, sizeof(both), "%s %s", argv[0], argv[1]);
	if (is_among(later_grouped, ARRAY_SIZE(later_grouped), both))
		fail(&f, EXIT_USAGE, "not supported yet: %s", both);
	else
		fail(&f, EXIT_USAGE, "unknown command: %s; %s --help lists the commands", both, argv[0]);
	return cli_report(&f);
}

static int print_help(char **argv)
{
	const struct command *command = *argv ? command_find(*argv) : NULL;

	if (*argv && !command)
		return fail_unknown(*argv);
	if (command)
		command_print_help(command);
	else
		command_print_overview();
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct cli cli = { .home = HOME_NULL };
	const struct command *command;
	const char *word = argc > 1 ? argv[1] : "--help";

	log_open("a3s-box");
	umask(077);
	/* A reader of our output that goes away is an error of write(), not the end of a process with a raw terminal. */
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
		return print_help(argc > 2 ? argv + 2 : argv + argc);
	if (!strcmp(word, "--version") || !strcmp(word, "-v")) {
		printf("a3s-box version %s\n", A3S_VERSION);
		return EXIT_DONE;
	}
	if (command_is_group(word))
		return run_grouped(&cli, argv + 1);
	command = command_find(word);
	return command ? command_run(command, &cli, argv + 1) : fail_unknown(word);
}
