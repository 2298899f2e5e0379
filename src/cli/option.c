/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/option.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"

int option_set_switch(void *at, const char *value, struct failure *f)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = { { "true", true }, { "1", true }, { "t", true }, { "false", false }, { "0", false }, { "f", false } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(words[i].word, value)) {
			*(bool *)at = words[i].value;
			return 0;
		}
	}
	return fail(f, EXIT_USAGE, "\"%s\" is neither true nor false", value);
}

int option_set_text(void *at, const char *value, struct failure *f)
{
	*(const char **)at = value;
	return 0;
}

int option_add_text(void *at, const char *value, struct failure *f)
{
	return strv_add(at, value) < 0 ? fail(f, EXIT_USAGE, "out of memory") : 0;
}

int option_set_integer(void *at, const char *value, struct failure *f)
{
	struct option_integer *integer = at;

	if (text_to_int(value, INT32_MIN, INT32_MAX, &integer->value) < 0)
		return fail(f, EXIT_USAGE, "\"%s\" is not a whole number", value);
	integer->given = true;
	return 0;
}

int option_set_bytes(void *at, const char *value, struct failure *f)
{
	if (text_to_bytes(value, at) < 0)
		return fail(f, EXIT_USAGE, "\"%s\" is not a size like 512m or 1g", value);
	return 0;
}

void option_each(const struct option_set *set, void (*fn)(const struct option_spec *spec, void *context), void *context)
{
	for (size_t i = 0; i < ARRAY_SIZE(set->tables); i++) {
		for (const struct option_spec *s = set->tables[i]; s && s->flag; s++)
			fn(s, context);
	}
}

static const struct option_spec *find_flag(const struct option_set *set, const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(set->tables); i++) {
		for (const struct option_spec *s = set->tables[i]; s && s->flag; s++) {
			if (strlen(s->flag) == length && !strncmp(s->flag, name, length))
				return s;
		}
	}
	return NULL;
}

static const struct option_spec *find_letter(const struct option_set *set, char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(set->tables); i++) {
		for (const struct option_spec *s = set->tables[i]; s && s->flag; s++) {
			if (s->letter == letter)
				return s;
		}
	}
	return NULL;
}

static bool comes_later(const struct option_set *set, const char *name, size_t length)
{
	for (size_t i = 0; set->later && set->later[i]; i++) {
		if (strlen(set->later[i]) == length && !strncmp(set->later[i], name, length))
			return true;
	}
	return false;
}

struct nearest {
	const char *wanted, *flag;
	unsigned distance;
};

static void compare_nearest(const struct option_spec *spec, void *context)
{
	struct nearest *n = context;
	unsigned distance = text_distance(n->wanted, spec->flag);

	/* The beginning of a flag is what people type when they forget the rest. */
	if (strlen(n->wanted) >= 3 && text_starts(spec->flag, n->wanted))
		distance = 1;
	if (distance < n->distance) {
		n->distance = distance;
		n->flag = spec->flag;
	}
}

static int fail_unknown(const struct option_set *set, const char *name, size_t length, struct failure *f)
{
	_cleanup_free_ char *flag = strndup(name, length);
	struct nearest nearest = { .wanted = flag, .distance = (unsigned)(length + 2) / 2 + 1 };

	if (!flag)
		return fail(f, EXIT_USAGE, "out of memory");
	if (comes_later(set, name, length))
		return fail(f, EXIT_USAGE, "not supported yet: --%s", flag);
	option_each(set, compare_nearest, &nearest);
	if (nearest.flag)
		return fail(f, EXIT_USAGE, "unknown flag: --%s; the nearest that exists is --%s", flag, nearest.flag);
	return fail(f, EXIT_USAGE, "unknown flag: --%s; --help lists the flags", flag);
}

static int set_option(const struct option_spec *spec, void *options, const char *value, struct failure *f)
{
	if (spec->set((char *)options + spec->offset, value, f) < 0)
		return fail_wrap(f, "--%s", spec->flag);
	return 0;
}

/* `word` is "--flag" or "--flag=value". Returns how many of argv were used, or -1. */
static int parse_long(const struct option_set *set, char **argv, void *options, struct failure *f)
{
	const char *name = argv[0] + 2, *equals = strchr(name, '=');
	size_t length = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_spec *spec = find_flag(set, name, length);

	if (!spec)
		return fail_unknown(set, name, length, f);
	if (equals)
		return set_option(spec, options, equals + 1, f) < 0 ? -1 : 1;
	if (!spec->argument)
		return set_option(spec, options, "true", f) < 0 ? -1 : 1;
	if (!argv[1])
		return fail(f, EXIT_USAGE, "flag needs an argument: --%s %s", spec->flag, spec->argument);
	return set_option(spec, options, argv[1], f) < 0 ? -1 : 2;
}

/* `word` is "-abc", "-avalue" or "-a=value". */
static int parse_short(const struct option_set *set, char **argv, void *options, struct failure *f)
{
	for (const char *p = argv[0] + 1; *p; p++) {
		const struct option_spec *spec = find_letter(set, *p);

		if (!spec && comes_later(set, p, 1))
			return fail(f, EXIT_USAGE, "not supported yet: -%c", *p);
		if (!spec)
			return fail(f, EXIT_USAGE, "unknown flag: -%c in %s; --help lists the flags", *p, argv[0]);
		if (!spec->argument && p[1] != '=') {
			if (set_option(spec, options, "true", f) < 0)
				return -1;
			continue;
		}
		if (p[1])
			return set_option(spec, options, p[1] == '=' ? p + 2 : p + 1, f) < 0 ? -1 : 1;
		if (!argv[1])
			return fail(f, EXIT_USAGE, "flag needs an argument: -%c %s", *p, spec->argument);
		return set_option(spec, options, argv[1], f) < 0 ? -1 : 2;
	}
	return 1;
}

static bool is_help(const struct option_set *set, const char *word)
{
	return !strcmp(word, "--help") || (!strcmp(word, "-h") && !find_letter(set, 'h'));
}

int option_parse(const struct option_set *set, char **argv, void *options, bool *ret_help, char ***ret_args, struct failure *f)
{
	_cleanup_free_ char **args = NULL;
	size_t n = 0, room = 1;
	bool ended = false;

	*ret_help = false;
	while (argv[room - 1])
		room++;
	args = calloc(room, sizeof(*args));
	if (!args)
		return fail(f, EXIT_USAGE, "out of memory");
	while (*argv) {
		int used = 1;

		if (ended || argv[0][0] != '-' || !argv[0][1]) {
			args[n++] = *argv;
			ended = ended || set->flags_first;
		} else if (!strcmp(*argv, "--")) {
			ended = true;
		} else if (is_help(set, *argv)) {
			*ret_help = true;
			break;
		} else {
			used = argv[0][1] == '-' ? parse_long(set, argv, options, f) : parse_short(set, argv, options, f);
		}
		if (used < 0)
			return -1;
		argv += used;
	}
	*ret_args = take_ptr(args);
	return 0;
}

static void free_vector(const struct option_spec *spec, void *context)
{
	char ***at = (char ***)(void *)((char *)context + spec->offset);

	if (spec->set == option_add_text)
		*at = strv_free(*at);
}

void option_deinit(const struct option_set *set, void *options)
{
	option_each(set, free_vector, options);
}
