/* SPDX-License-Identifier: Apache-2.0 */
/* C12: the tables of commands and options are sound, and the manual's first page names every command. C05: what docker has. */
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/box_options.h"
#include "test.h"

static const struct command *current;
static char letters[256];
static char **flags;

static void check_option(const struct option_spec *spec, void *context)
{
	if (strv_has(flags, spec->flag))
		fail_msg("%s --%s is there twice", current->name, spec->flag);
	strv_add(&flags, spec->flag);
	if (spec->letter && letters[(unsigned char)spec->letter]++)
		fail_msg("%s -%c is there twice", current->name, spec->letter);
	assert_true(strlen(spec->help) > 5);
	assert_int_not_equal(spec->help[strlen(spec->help) - 1], '.');
	assert_non_null(spec->set);
	assert_true((spec->set == option_set_switch) == !spec->argument);
	assert_true(spec->offset < current->options_size);
}

static void options_are_unique_and_explained(void **state)
{
	for (size_t i = 0; commands[i]; i++) {
		current = commands[i];
		memset(letters, 0, sizeof(letters));
		option_each(&current->options, check_option, NULL);
		for (const char *const *l = current->options.later; l && *l; l++) {
			if (strv_has(flags, *l) || (!(*l)[1] && letters[(unsigned char)**l]))
				fail_msg("%s %s is supported and not supported", current->name, *l);
		}
		flags = strv_free(flags);
	}
}

static void commands_are_unique_and_explained(void **state)
{
	for (size_t i = 0; commands[i]; i++) {
		assert_ptr_equal(command_find(commands[i]->name), commands[i]);
		assert_true(commands[i]->min_args <= commands[i]->max_args);
		assert_true(strlen(commands[i]->summary) > 5);
		assert_non_null(commands[i]->run);
	}
	assert_string_equal(command_find("ls")->name, "ps");
	assert_string_equal(command_find_grouped("image", "ls")->name, "images");
	assert_string_equal(command_find_grouped("container", "ls")->name, "ps");
	assert_string_equal(command_find_grouped("container", "exec")->name, "exec");
	assert_null(command_find_grouped("exec", "run"));
	assert_null(command_find_grouped("container", "pull"));
	assert_string_equal(command_nearest("rnu")->name, "run");
	assert_string_equal(command_nearest("insepct")->name, "inspect");
	assert_null(command_nearest("zzzzzzzzzz"));
}

static void manual_names_every_command(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	assert_int_equal(io_read_file(MANUAL, 1 << 20, &text, &size), 0);
	for (size_t i = 0; commands[i]; i++) {
		char marked[32];

		snprintf(marked, sizeof(marked), "*%s*", commands[i]->name);
		if (!commands[i]->hidden && !strstr(text, marked))
			fail_msg("%s is missing", marked);
	}
}

/* The flags that people type for docker run: each is ours or announced, none merely unknown. */
static void no_flag_of_docker_is_unknown(void **state)
{
	static const char *const docker[] = {
		"add-host", "annotation", "attach", "cap-add", "cidfile", "cpus", "cpu-shares", "detach", "detach-keys", "device", "dns",
		"dns-option", "dns-search", "domainname", "entrypoint", "env", "env-file", "expose", "gpus", "group-add", "health-cmd",
		"hostname", "init", "interactive", "ip", "ip6", "ipc", "label", "label-file", "link", "log-driver", "log-opt",
		"mac-address", "memory", "memory-swap", "mount", "name", "network", "network-alias", "no-healthcheck", "oom-score-adj",
		"pid", "pids-limit", "platform", "privileged", "publish", "publish-all", "pull", "quiet", "read-only", "restart", "rm",
		"runtime", "security-opt", "shm-size", "sig-proxy", "stop-signal", "stop-timeout", "storage-opt", "sysctl", "tmpfs",
		"tty", "ulimit", "user", "userns", "uts", "volume", "volumes-from", "workdir",
	};
	const struct command *run = command_find("run");

	current = run;
	memset(letters, 0, sizeof(letters));
	option_each(&run->options, check_option, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(docker); i++) {
		char *const *later = (char *const *)(uintptr_t)run->options.later;

		if (strv_has(flags, docker[i]) == strv_has(later, docker[i]))
			fail_msg("--%s", docker[i]);
	}
	flags = strv_free(flags);
}

/* The commands' own way in: refused before any image or box is asked for. */
static void commands_take_only_utf8_text(void **state)
{
	char image[] = "image", word[] = "\xff";
	char *bad[] = { word, NULL }, *args[] = { image, image, word, NULL }, *plain[] = { image, NULL };
	const struct box_options cases[] = { { .env = bad }, { .labels = bad }, { .tmpfs = bad }, { .entrypoint = bad[0] },
					     { .user = bad[0] }, { .workdir = bad[0] } };
	struct box_config config;
	char exec_options[256] = { 0 };
	const struct command *exec = command_find("exec");
	struct cli cli = { 0 };
	struct failure f;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(box_options_build(&cli, &cases[i], plain, &config, &f), -1);
		assert_non_null(strstr(f.text, "is not UTF-8 text"));
		box_config_deinit(&config);
	}
	assert_int_equal(box_options_build(&cli, &(struct box_options){ 0 }, args, &config, &f), -1);
	assert_string_equal(f.text, "argument 2: \"\\xff\" is not UTF-8 text");
	box_config_deinit(&config);
	assert_true(exec->options_size <= sizeof(exec_options));
	assert_int_equal(exec->run(&cli, exec_options, args, &f), -1);
	assert_string_equal(f.text, "argument 2: \"\\xff\" is not UTF-8 text");
}

/* D13, T27: what goes into the box's resolv.conf. The image is not there, but all flags are read before it is asked for. */
static void name_service_flags_reach_the_record(void **state)
{
	char corp[] = "corp.test", lan[] = "lan", ndots[] = "ndots:2", two[] = "a b", image[] = "a3s-no-such-image";
	char *searches[] = { corp, lan, NULL }, *options[] = { ndots, NULL }, *bad[] = { two, NULL }, *args[] = { image, NULL };
	struct box_options o = { .dns_searches = searches, .dns_options = options, .pull = "never" };
	char top[] = "/tmp/a3s-commands-XXXXXX";
	struct cli cli = { .home = HOME_NULL };
	struct box_config config;
	struct failure f;

	assert_non_null(mkdtemp(top));
	assert_int_equal(setenv("A3S_HOME", top, 1), 0);
	assert_int_equal(home_open(&cli.home, &f), 0);
	assert_int_equal(box_options_build(&cli, &o, args, &config, &f), -1);
	assert_non_null(strstr(f.text, image));
	assert_string_equal(config.dns_search[1], lan);
	assert_string_equal(config.dns_option[0], ndots);
	box_config_deinit(&config);
	o.dns_options = bad;
	assert_int_equal(box_options_build(&cli, &o, args, &config, &f), -1);
	assert_string_equal(f.text, "--dns-option: \"a b\" is not one word like ndots:2");
	box_config_deinit(&config);
	home_close(&cli.home);
	assert_int_equal(io_remove_tree(top), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_unique_and_explained),
		cmocka_unit_test(commands_are_unique_and_explained),
		cmocka_unit_test(manual_names_every_command),
		cmocka_unit_test(no_flag_of_docker_is_unknown),
		cmocka_unit_test(commands_take_only_utf8_text),
		cmocka_unit_test(name_service_flags_reach_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
