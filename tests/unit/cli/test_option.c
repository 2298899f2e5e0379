/* SPDX-License-Identifier: Apache-2.0 */
/* C05: unknown flags (nearest one proposed), docker's flags that we lack; docker's spellings of those that we have. */
#include "cli/option.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "test.h"

struct sample {
	bool all, quiet;
	const char *name;
	char **env;
	int64_t memory;
	struct option_integer time;
};

#define AT(member) offsetof(struct sample, member)
static const struct option_spec table[] = {
	{ "all", 'a', NULL, "", option_set_switch, AT(all) },
	{ "quiet", 'q', NULL, "", option_set_switch, AT(quiet) },
	{ "name", 0, "NAME", "", option_set_text, AT(name) },
	{ "env", 'e', "NAME=VALUE", "", option_add_text, AT(env) },
	{ "memory", 'm', "SIZE", "", option_set_bytes, AT(memory) },
	{ "time", 't', "SECONDS", "", option_set_integer, AT(time) },
	{ 0 },
};
static const char *const later[] = { "volume", "v", NULL };
static const struct option_set any = { .tables = { table }, .later = later };
static const struct option_set first = { .tables = { NULL, table }, .later = later, .flags_first = true };

static struct sample got;
static char **rest;
static struct failure f;
static bool help;

static char **words; /* the options borrow from it */

static int parse(const struct option_set *set, const char *line)
{
	_cleanup_free_ char *copy = strdup(line);

	free(rest);
	rest = NULL;
	option_deinit(set, &got);
	words = strv_free(words);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		strv_add(&words, word);
	f = (struct failure){ 0 };
	got = (struct sample){ 0 };
	return option_parse(set, words, &got, &help, &rest, &f);
}

static void docker_spellings_are_read(void **state)
{
	assert_int_equal(parse(&any, "-aq -eA=1 --env=B=2 -e C --name web -m=1g --time=-1 x -- -y"), 0);
	assert_true(got.all && got.quiet && !help);
	assert_int_equal(strv_length(got.env), 3);
	assert_string_equal(got.env[0], "A=1");
	assert_string_equal(got.env[1], "B=2");
	assert_string_equal(got.name, "web");
	assert_int_equal(got.memory, 1 << 30);
	assert_true(got.time.given);
	assert_int_equal(got.time.value, -1);
	assert_string_equal(rest[0], "x");
	assert_string_equal(rest[1], "-y");
	assert_null(rest[2]);
}

static void flags_end_at_the_image(void **state)
{
	assert_int_equal(parse(&first, "-a nginx -q --unknown --help"), 0);
	assert_true(got.all);
	assert_false(got.quiet || help);
	assert_int_equal(parse(&any, "nginx -q"), 0);
	assert_true(got.quiet);
	assert_int_equal(parse(&any, "--all=false -"), 0);
	assert_false(got.all);
}

static const struct {
	const char *line, *sentence;
} wrong[] = {
	{ "--volume x", "not supported yet: --volume" },
	{ "--volume=x", "not supported yet: --volume" },
	{ "-v", "not supported yet: -v" },
	{ "-aqv", "not supported yet: -v" },
	{ "--nmae", "nearest that exists is --name" },
	{ "--mem", "nearest that exists is --memory" },
	{ "--quite", "nearest that exists is --quiet" },
	{ "--somethingelse", "unknown flag: --somethingelse; --help" },
	{ "-x", "unknown flag: -x" },
	{ "--name", "needs an argument: --name NAME" },
	{ "-e", "needs an argument: -e NAME=VALUE" },
	{ "--all=maybe", "--all: \"maybe\"" },
	{ "-m lots", "--memory: \"lots\"" },
	{ "-t soon", "--time: \"soon\"" },
};

static void wrong_flags_get_one_clear_line(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(parse(&any, wrong[i].line), -1);
		assert_int_equal(f.code, EXIT_USAGE);
		if (!strstr(f.text, wrong[i].sentence))
			fail_msg("%s: %s", wrong[i].line, f.text);
	}
}

static void help_beats_everything(void **state)
{
	assert_int_equal(parse(&any, "-a --help --nothing"), 0);
	assert_true(help);
	assert_int_equal(parse(&any, "-h"), 0);
	assert_true(help);
}

static int tear_down(void **state)
{
	free(rest);
	strv_free(words);
	option_deinit(&any, &got);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(docker_spellings_are_read),
		cmocka_unit_test(flags_end_at_the_image),
		cmocka_unit_test(wrong_flags_get_one_clear_line),
		cmocka_unit_test(help_beats_everything),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
