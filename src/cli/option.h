/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options as tables: parsing, --help, the nearest existing flag, completions and the check of the manual all read the same
 * lines.
 *
 * Spelling is docker's: --flag value, --flag=value, -f value, -fvalue, -f=value, switches joined (-itd), "--" ends them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/**
 * struct option_spec - one option; a table ends with an empty one
 * @flag:	long name without dashes
 * @letter:	short name, 0: none
 * @argument:	placeholder in the help; NULL: a switch, which also takes --flag=true and --flag=false
 * @help:	one line
 * @set:	store `value` at the place `offset` bytes into the command's options; -1 and a sentence without the flag's name.
 *		A switch gets "true" or "false".
 */
struct option_spec {
	const char *flag;
	char letter;
	const char *argument;
	const char *help;
	int (*set)(void *at, const char *value, struct failure *f);
	size_t offset;
};

int option_set_switch(void *at, const char *value, struct failure *f);	/* bool */
int option_set_text(void *at, const char *value, struct failure *f);	/* const char *, borrowed from argv */
int option_add_text(void *at, const char *value, struct failure *f);	/* char **, copies */
int option_set_integer(void *at, const char *value, struct failure *f); /* struct option_integer */
int option_set_bytes(void *at, const char *value, struct failure *f);	/* int64_t */

struct option_integer {
	int64_t value;
	bool given;
};

/**
 * struct option_set - what one command takes
 * @tables:	own and shared table, either may be NULL
 * @later:	names of docker's flags that we do not have yet, long or of one letter; NULL-terminated, may be NULL
 * @flags_first: flags end at the first argument: what follows belongs to the program in the box
 */
struct option_set {
	const struct option_spec *tables[2];
	const char *const *later;
	bool flags_first;
};

/* Reads argv (the command's name excluded). *ret_help: --help was there, nothing else counts. *ret_args: arguments, borrowed
 * strings in a NULL-terminated vector that the caller frees. EXIT_USAGE and a sentence at anything wrong. */
int option_parse(const struct option_set *set, char **argv, void *options, bool *ret_help, char ***ret_args, struct failure *f);
/* Free the vectors that option_add_text() made. */
void option_deinit(const struct option_set *set, void *options);
/* Call fn for each option of the set, in the order of the tables. */
void option_each(const struct option_set *set, void (*fn)(const struct option_spec *spec, void *context), void *context);
