/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "store/box.h"

static bool word_in(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
		if (strcspn(p, " ") == n && !strncmp(p, word, n))
			return true;
	}
	return false;
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++) {
		if (!strcmp(commands[i]->name, name) || word_in(commands[i]->aliases, name))
			return commands[i];
	}
	return NULL;
}

/* docker's groups: `image ls` is images, `container X` is mostly X. */
static const struct {
	const char *group, *word, *command;
} grouped[] = {
	{ "image", "inspect", "inspect" },	{ "image", "list", "images" },
	{ "image", "load", "load" },		{ "image", "ls", "images" },
	{ "image", "pull", "pull" },		{ "image", "remove", "rmi" },
	{ "image", "rm", "rmi" },		{ "image", "tag", "tag" },
	{ "container", "attach", "attach" },	{ "container", "create", "create" },
	{ "container", "exec", "exec" },	{ "container", "inspect", "inspect" },
	{ "container", "kill", "kill" },	{ "container", "list", "ps" },
	{ "container", "logs", "logs" },	{ "container", "ls", "ps" },
	{ "container", "port", "port" },	{ "container", "ps", "ps" },
	{ "container", "restart", "restart" },	{ "container", "rm", "rm" },
	{ "container", "run", "run" },		{ "container", "start", "start" },
	{ "container", "stats", "stats" },	{ "container", "stop", "stop" },
	{ "container", "wait", "wait" },
};

const struct command *command_find_grouped(const char *group, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(grouped); i++) {
		if (!strcmp(grouped[i].group, group) && !strcmp(grouped[i].word, name))
			return command_find(grouped[i].command);
	}
	return NULL;
}

bool command_is_group(const char *word)
{
	return !strcmp(word, "image") || !strcmp(word, "container");
}

void command_each_grouped(const char *group, void (*fn)(const char *word, const struct command *command, void *context),
			  void *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(grouped); i++) {
		if (!strcmp(grouped[i].group, group))
			fn(grouped[i].word, command_find(grouped[i].command), context);
	}
}

const struct command *command_nearest(const char *name)
{
	const struct command *nearest = NULL;
	unsigned least = (unsigned)(strlen(name) + 1) / 2 + 1;

	for (size_t i = 0; commands[i]; i++) {
		unsigned distance = text_distance(name, commands[i]->name);

		if (!commands[i]->hidden && distance < least) {
			least = distance;
			nearest = commands[i];
		}
	}
	return nearest;
}

static int option_width(const struct option_spec *spec)
{
	return (int)strlen(spec->flag) + (spec->argument ? 1 + (int)strlen(spec->argument) : 0);
}

static void widest_option(const struct option_spec *spec, void *context)
{
	int *width = context;

	*width = MAX(*width, option_width(spec));
}

static void print_option(const struct option_spec *spec, void *context)
{
	const int *width = context;

	if (spec->letter)
		printf("  -%c, --%s", spec->letter, spec->flag);
	else
		printf("      --%s", spec->flag);
	printf("%s%s%*s%s\n", spec->argument ? " " : "", spec->argument ? spec->argument : "", *width - option_width(spec) + 3, "",
	       spec->help);
}

void command_print_help(const struct command *command)
{
	int width = 0;

	printf("Usage:  a3s-box %s%s%s\n\n%s\n", command->name, *command->usage ? " " : "", command->usage, command->summary);
	if (command->aliases)
		printf("\nAliases: %s\n", command->aliases);
	if (command->details)
		printf("\n%s\n", command->details);
	option_each(&command->options, widest_option, &width);
	if (width) {
		printf("\nOptions:\n");
		option_each(&command->options, print_option, &width);
	}
}

static void print_grouped(const char *word, const struct command *command, void *context)
{
	printf("  %-12s %s\n", word, command->summary);
}

void command_print_group(const char *group)
{
	printf("Usage:  a3s-box %s COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n", group);
	command_each_grouped(group, print_grouped, NULL);
}

void command_print_overview(void)
{
	printf("Usage:  a3s-box COMMAND [OPTIONS] [ARGUMENTS]\n\nRuns each OCI image in a microVM of its own.\n\nCommands:\n");
	for (size_t i = 0; commands[i]; i++) {
		if (!commands[i]->hidden)
			printf("  %-12s %s\n", commands[i]->name, commands[i]->summary);
	}
	printf("\na3s-box COMMAND --help says more about one.\n");
}

/* Sentences quote what users, registries and guests wrote: nothing of it may move the cursor or begin a line. */
int cli_report(const struct failure *f)
{
	fflush(stdout);
	fputs("a3s-box: ", stderr);
	for (const char *p = f->text; *p; p++)
		fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, stderr);
	fputc('\n', stderr);
	return f->code ? f->code : EXIT_FAILED;
}

void cli_warn(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "a3s-box: warning: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int cli_each(struct cli *cli, char **names, int (*fn)(struct cli *cli, const char *name, void *context, struct failure *f),
	     void *context)
{
	int code = EXIT_DONE;

	for (; *names; names++) {
		struct failure f = { 0 };

		if (fn(cli, *names, context, &f) < 0) {
			int own = cli_report(&f);

			code = code ? code : own;
		}
	}
	return code;
}

int cli_flush(struct failure *f)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	/* Whoever read us has seen enough: docker's tools end without a word as well. */
	if (errno == EPIPE)
		exit(EXIT_FAILED);
	return fail_errno(f, EXIT_FAILED, errno, "cannot write to standard output");
}

static int check_count(const struct command *command, char **args, struct failure *f)
{
	unsigned n = 0;

	while (args[n])
		n++;
	if (n < command->min_args)
		return fail(f, EXIT_USAGE, "%s needs %s%u argument%s; usage: a3s-box %s %s", command->name,
			    command->max_args > command->min_args ? "at least " : "", command->min_args,
			    command->min_args == 1 ? "" : "s", command->name, command->usage);
	if (n > command->max_args)
		return fail(f, EXIT_USAGE, "%s takes no argument \"%s\"; usage: a3s-box %s %s", command->name,
			    args[command->max_args], command->name, command->usage);
	return 0;
}

static int run_parsed(const struct command *command, struct cli *cli, void *options, char **args, struct failure *f)
{
	int code;

	if (check_count(command, args, f) < 0)
		return -1;
	if (!command->no_home && (home_open(&cli->home, f) < 0 || box_sweep(&cli->home, f) < 0))
		return -1;
	code = command->run(cli, options, args, f);
	if (code >= 0 && cli_flush(f) < 0)
		code = -1;
	home_close(&cli->home);
	return code;
}

int command_run(const struct command *command, struct cli *cli, char **argv)
{
	_cleanup_free_ void *options = calloc(1, command->options_size + 1);
	_cleanup_free_ char **args = NULL;
	struct failure f = { 0 };
	bool help = false;
	int code;

	if (!options)
		return EXIT_USAGE;
	if (command->defaults)
		memcpy(options, command->defaults, command->options_size);
	if (option_parse(&command->options, argv + 1, options, &help, &args, &f) < 0) {
		code = -1;
	} else if (help) {
		command_print_help(command);
		code = EXIT_DONE;
	} else {
		code = run_parsed(command, cli, options, args, &f);
	}
	option_deinit(&command->options, options);
	return code < 0 ? cli_report(&f) : code;
}
