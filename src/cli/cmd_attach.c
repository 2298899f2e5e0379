/* SPDX-License-Identifier: Apache-2.0 */
#include "base/own.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/lifecycle.h"

struct attach_options {
	bool no_stdin, pass_signals;
	const char *keys;
};

static const struct attach_options defaults = { .pass_signals = true };

#define AT(member) offsetof(struct attach_options, member)
static const struct option_spec options_table[] = {
	{ "detach-keys", 0, "KEYS", "Keys that leave the box running (default ctrl-p,ctrl-q)", option_set_text, AT(keys) },
	{ "no-stdin", 0, NULL, "Do not pass standard input on", option_set_switch, AT(no_stdin) },
	{ "sig-proxy", 0, NULL, ATTACH_SIG_PROXY_HELP, option_set_switch, AT(pass_signals) },
	{ 0 },
};

static int attach_box(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct attach_options *o = options;
	struct attach attach = { .send_stdin = !o->no_stdin, .pass_signals = o->pass_signals, .keys = o->keys };
	struct box_config config;
	struct box_state state;
	int fd = -1, code = lifecycle_find(cli, args[0], &config, &state, f);

	if (code == 0 && !box_status_is_alive(state.status))
		code = fail(f, EXIT_FAILED, "box %s is not running: start -a starts it and attaches", args[0]);
	if (code == 0)
		code = attach_check_terminal(config.tty, attach.send_stdin && config.open_stdin, f);
	if (code == 0) {
		fd = attach_open(&cli->home, &config, &attach, f);
		code = fd < 0 ? -1 : attach_run(&cli->home, &config, &attach, fd, f);
	}
	box_config_deinit(&config);
	box_state_deinit(&state);
	return code;
}

const struct command cmd_attach = {
	.name = "attach",
	.summary = "Attach this terminal to a box's process",
	.usage = "[OPTIONS] BOX",
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct attach_options),
	.defaults = &defaults,
	.min_args = 1,
	.max_args = 1,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = attach_box,
};
