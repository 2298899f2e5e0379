/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: create, start and be attached, in an order that leaves nothing behind wherever it is cut off.
 *
 *	record made, pending file held by us	killed: the next command sweeps it
 *	monitor started, we hold its socket	killed: the monitor takes the box down, and removes it
 *	attached, then "go"			so that no byte of the box's output is missed
 *	"started": record and monitor committed	from here on the box is its own
 */
#include <stdio.h>

#include "base/own.h"
#include "cli/attach.h"
#include "cli/box_options.h"
#include "cli/launch.h"

struct run_options {
	struct box_options box;
	bool detach, pass_signals;
	const char *keys;
};

static const struct run_options defaults = { .pass_signals = true };

static const struct option_spec options_table[] = {
	{ "detach", 'd', NULL, "Run in the background and print the box's id", option_set_switch,
	  offsetof(struct run_options, detach) },
	{ "detach-keys", 0, "KEYS", "Keys that leave the box running (default ctrl-p,ctrl-q)", option_set_text,
	  offsetof(struct run_options, keys) },
	{ "sig-proxy", 0, NULL, ATTACH_SIG_PROXY_HELP, option_set_switch, offsetof(struct run_options, pass_signals) },
	{ 0 },
};

static int start_made(struct cli *cli, const struct run_options *o, const struct box_config *config, int *pending, int *ret_attached,
		      struct failure *f)
{
	struct attach attach = { .send_stdin = o->box.interactive, .hold = true };
	_cleanup_close_ int attached = -1;
	struct launch launch = LAUNCH_NULL;
	int r = launch_begin(&launch, &cli->home, config->id, f);

	if (r == 0 && !o->detach) {
		attached = attach_open(&cli->home, config, &attach, f);
		r = attached < 0 ? -1 : 0;
	}
	if (r == 0)
		r = launch_go(&launch, true, f);
	if (r == 0)
		r = box_commit(&cli->home, config->id, pending, f);
	if (r == 0)
		r = launch_commit(&launch, f);
	launch_close(&launch);
	if (r == 0)
		*ret_attached = take_fd(&attached);
	return r;
}

/* A box that did not start leaves nothing behind; its monitor may have been quicker. */
static void clean_up(struct cli *cli, const struct box_config *config)
{
	struct failure ignored = { 0 };

	if (box_wait_released(&cli->home, config->id) == 0)
		box_remove(&cli->home, config->id, &ignored);
}

static int run_made(struct cli *cli, const struct run_options *o, struct box_config *config, struct failure *f)
{
	struct attach attach = {
		.send_stdin = o->box.interactive,
		.hold = true,
		.pass_signals = o->pass_signals,
		.keys = o->keys,
	};
	_cleanup_close_ int pending = -1;
	int attached = -1;

	if (box_create(&cli->home, config, &pending, f) < 0)
		return -1;
	if (start_made(cli, o, config, &pending, &attached, f) < 0) {
		clean_up(cli, config);
		return -1;
	}
	if (o->detach) {
		puts(config->id);
		return EXIT_DONE;
	}
	return attach_run(&cli->home, config, &attach, attached, f);
}

static int run(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct run_options *o = options;
	struct box_config config = BOX_CONFIG_NULL;
	struct session keys;
	int r;

	if (session_parse_keys(&keys, o->keys, f) < 0 || attach_check_terminal(o->box.tty && !o->detach, o->box.interactive, f) < 0)
		return -1;
	r = box_options_build(cli, &o->box, args, &config, f);
	config.detached = o->detach;
	if (r == 0)
		r = launch_check_ports(&cli->home, &config, f);
	if (r == 0)
		r = run_made(cli, o, &config, f);
	box_config_deinit(&config);
	return r;
}

const struct command cmd_run = {
	.name = "run",
	.summary = "Make a box from an image and run a command in it",
	.usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
	.details = "The exit code is that of the command; 125: the box could not be run; 126 and 127: the command could not be run,\n"
		   "or is not in the box; 128 + N: the command was ended by signal N.",
	.options = { .tables = { options_table, box_option_table }, .later = box_options_later, .flags_first = true },
	.options_size = sizeof(struct run_options),
	.defaults = &defaults,
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_IMAGE,
	.run = run,
};
