/* SPDX-License-Identifier: Apache-2.0 */
/* The manual's page of each command, in scdoc's form, from the same tables as the parser: the two cannot disagree. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

/* scdoc's marks taken literally. */
static void print_plain(const char *s)
{
	for (; *s; s++) {
		if (strchr("*_\\~#", *s))
			putchar('\\');
		putchar(*s);
	}
}

static void print_option(const struct option_spec *spec, void *context)
{
	if (spec->letter)
		printf("*-%c*, ", spec->letter);
	printf("*--%s*", spec->flag);
	if (spec->argument) {
		putchar(' ');
		print_plain(spec->argument);
	}
	printf("\n\t");
	print_plain(spec->help);
	printf(".\n\n");
}

static void count_option(const struct option_spec *spec, void *context)
{
	++*(unsigned *)context;
}

static void print_later(const char *const *later)
{
	const char *separator = "";

	printf("# NOT SUPPORTED YET\n\ndocker's ");
	for (; *later; later++) {
		printf("%s*%s%s*", separator, (*later)[1] ? "--" : "-", *later);
		separator = ", ";
	}
	printf(".\n\n");
}

static int manual(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct command *command = command_find(args[0]);
	unsigned n = 0;

	if (!command)
		return fail(f, EXIT_USAGE, "unknown command: %s", args[0]);
	printf("a3s-box-%s(1)\n\n# NAME\n\na3s-box-%s - ", command->name, command->name);
	print_plain(command->summary);
	printf("\n\n# SYNOPSIS\n\n*a3s-box %s* ", command->name);
	print_plain(command->usage);
	if (command->aliases) {
		printf("\n\nOther names: ");
		print_plain(command->aliases);
	}
	printf("\n\n");
	if (command->details) {
		printf("# DESCRIPTION\n\n");
		print_plain(command->details);
		printf("\n\n");
	}
	option_each(&command->options, count_option, &n);
	if (n) {
		printf("# OPTIONS\n\n");
		option_each(&command->options, print_option, NULL);
	}
	if (command->options.later)
		print_later(command->options.later);
	printf("# SEE ALSO\n\n*a3s-box*(1)\n");
	return EXIT_DONE;
}

const struct command cmd_manual = {
	.name = "__manual",
	.summary = "Print the manual's page of a command as scdoc",
	.usage = "COMMAND",
	.min_args = 1,
	.max_args = 1,
	.argument = ARGUMENT_NONE,
	.no_home = true,
	.hidden = true,
	.run = manual,
};
