/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subcommands: a table of descriptions, one file each (cmd_*.c).
 *
 * A command's function returns the exit code, or -1 with a sentence in the failure, which main() prints as one line
 * "a3s-box: <sentence>". Functions that work through several objects print each object's sentence and go on: see cli_each().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "cli/option.h"
#include "store/home.h"

/* What the shell offers for a command's arguments. */
enum command_argument { ARGUMENT_NONE, ARGUMENT_BOX, ARGUMENT_RUNNING_BOX, ARGUMENT_IMAGE, ARGUMENT_FILE, ARGUMENT_SHELL };

#define ARGUMENTS_ANY 0x7fffffffu

struct cli {
	struct home home;
};

/**
 * struct command - one subcommand
 * @aliases:	other names, separated by blanks; NULL: none
 * @usage:	what follows the name in the usage line
 * @details:	further paragraphs for --help and the manual, may be NULL
 * @options_size, @defaults: size of the command's struct of options, and what it starts as (NULL: zeroes)
 * @no_home:	works without a store
 */
struct command {
	const char *name, *aliases, *summary, *usage, *details;
	struct option_set options;
	size_t options_size;
	const void *defaults;
	unsigned min_args, max_args;
	enum command_argument argument;
	bool no_home, hidden;
	int (*run)(struct cli *cli, void *options, char **args, struct failure *f);
};

/* All, in the order of the help; ends with NULL. */
extern const struct command *const commands[];

/* By name or alias; NULL: none. */
const struct command *command_find(const char *name);
/* The one that was probably meant, or NULL. */
const struct command *command_nearest(const char *name);
/* The part of an `image ls`, `container rm`: the command, or NULL. */
const struct command *command_find_grouped(const char *group, const char *name);
bool command_is_group(const char *word);
void command_each_grouped(const char *group, void (*fn)(const char *word, const struct command *command, void *context),
			  void *context);
void command_print_help(const struct command *command);
void command_print_group(const char *group);
void command_print_overview(void);
/* Parse, check the number of arguments, run. argv[0] is the command's name. Returns the exit code; prints the sentence. */
int command_run(const struct command *command, struct cli *cli, char **argv);

/* "a3s-box: <sentence>" on stderr. Returns the failure's exit code. */
int cli_report(const struct failure *f);
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/**
 * Do one thing to each of several objects: a failure is printed and the next one tried. Returns 0, or the exit code of the
 * first failure.
 */
int cli_each(struct cli *cli, char **names, int (*fn)(struct cli *cli, const char *name, void *context, struct failure *f),
	     void *context);
/* Standard output was written whole: 0, or -1 and a sentence (a full disk behind a redirection). */
int cli_flush(struct failure *f);
