/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/lifecycle.h"

struct start_options {
	bool attach, interactive, pass_signals;
	const char *keys;
};

static const struct start_options defaults = { .pass_signals = true };

#define AT(member) offsetof(struct start_options, member)
static const struct option_spec options_table[] = {
	{ "attach", 'a', NULL, "Stay and show the box's output; the exit code is the box's", option_set_switch, AT(attach) },
	{ "detach-keys", 0, "KEYS", "Keys that leave the box running (default ctrl-p,ctrl-q)", option_set_text, AT(keys) },
	{ "interactive", 'i', NULL, "Stay and pass standard input on", option_set_switch, AT(interactive) },
	{ "sig-proxy", 0, NULL, ATTACH_SIG_PROXY_HELP, option_set_switch, AT(pass_signals) },
	{ 0 },
};
static const char *const later[] = { "checkpoint", "checkpoint-dir", NULL };

static int start_attached(struct cli *cli, const struct start_options *o, const char *name, struct failure *f)
{
	struct attach attach = {
		.send_stdin = o->interactive,
		.hold = true,
		.pass_signals = o->pass_signals,
		.keys = o->keys,
	};
	struct box_config config = BOX_CONFIG_NULL;
	int attached = -1, code;

	code = lifecycle_start(cli, name, &config, &attach, &attached, f);
	if (code == 0)
		code = attach_run(&cli->home, &config, &attach, take_fd(&attached), f);
	close_fd(attached);
	box_config_deinit(&config);
	return code;
}

static int start_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	struct box_config config = BOX_CONFIG_NULL;
	int r = lifecycle_start(cli, name, &config, NULL, NULL, f);

	box_config_deinit(&config);
	if (r == 0)
		puts(name);
	return r;
}

static int start(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct start_options *o = options;

	if (!o->attach && !o->interactive)
		return cli_each(cli, args, start_one, NULL);
	if (args[1])
		return fail(f, EXIT_USAGE, "start -a and -i take one box: there is one terminal");
	return start_attached(cli, o, args[0], f);
}

const struct command cmd_start = {
	.name = "start",
	.summary = "Start boxes that do not run",
	.usage = "[OPTIONS] BOX [BOX...]",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct start_options),
	.defaults = &defaults,
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_BOX,
	.run = start,
};
