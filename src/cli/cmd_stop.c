/* SPDX-License-Identifier: Apache-2.0 */
/* stop, restart, kill and wait: what ends a box, or waits for its end. */
#include <signal.h>
#include <stdio.h>

#include "base/json.h"
#include "base/own.h"
#include "cli/command.h"
#include "cli/lifecycle.h"
#include "cli/monitor_client.h"
#include "cli/values.h"

struct stop_options {
	const char *signal;
	struct option_integer timeout;
};

static const struct option_spec stop_table[] = {
	{ "signal", 's', "SIGNAL", "Signal to send first (default: the box's own)", option_set_text,
	  offsetof(struct stop_options, signal) },
	{ "time", 't', "SECONDS", "How long to wait before the box is killed; -1: for ever", option_set_integer,
	  offsetof(struct stop_options, timeout) },
	{ "timeout", 0, "SECONDS", "The same as --time", option_set_integer, offsetof(struct stop_options, timeout) },
	{ 0 },
};
static const struct option_spec kill_table[] = {
	{ "signal", 's', "SIGNAL", "Signal to send (default KILL)", option_set_text, offsetof(struct stop_options, signal) },
	{ 0 },
};

static int check_stop(const struct stop_options *o, struct failure *f)
{
	int number;

	if (o->signal && value_parse_signal(o->signal, &number, f) < 0)
		return fail_wrap(f, "--signal");
	if (o->timeout.given && o->timeout.value < -1)
		return fail(f, EXIT_USAGE, "--time: %lld is neither seconds nor -1", (long long)o->timeout.value);
	return 0;
}

static int stop_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	const struct stop_options *o = context;

	if (lifecycle_stop(cli, name, o->signal, &o->timeout, f) < 0)
		return -1;
	puts(name);
	fflush(stdout);
	return 0;
}

static int stop(struct cli *cli, void *options, char **args, struct failure *f)
{
	if (check_stop(options, f) < 0)
		return -1;
	return cli_each(cli, args, stop_one, options);
}

static int restart_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	const struct stop_options *o = context;
	struct box_config config = BOX_CONFIG_NULL;
	int r = lifecycle_stop(cli, name, o->signal, &o->timeout, f);

	if (r == 0)
		r = lifecycle_start(cli, name, &config, NULL, NULL, f);
	box_config_deinit(&config);
	if (r == 0)
		puts(name);
	fflush(stdout);
	return r;
}

static int restart(struct cli *cli, void *options, char **args, struct failure *f)
{
	if (check_stop(options, f) < 0)
		return -1;
	return cli_each(cli, args, restart_one, options);
}

static int kill_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	const int *number = context;
	char id[BOX_ID_LENGTH + 1];
	int r;

	if (box_resolve(&cli->home, name, id, f) < 0)
		return -1;
	if (!box_is_held(&cli->home, id))
		return fail(f, EXIT_FAILED, "box %s is not running", name);
	if (*number == SIGKILL)
		r = monitor_kill(&cli->home, id, f);
	else
		r = monitor_ask(&cli->home, id, json_pack("{s:s, s:i}", "op", "signal", "signal", *number), NULL, f);
	if (r == 0)
		puts(name);
	return r;
}

static int kill_boxes(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct stop_options *o = options;
	int number = SIGKILL;

	if (o->signal && value_parse_signal(o->signal, &number, f) < 0)
		return fail_wrap(f, "--signal");
	return cli_each(cli, args, kill_one, &number);
}

static int wait_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	_cleanup_json_ json_t *reply = NULL;
	struct box_config config;
	struct box_state state;
	int code, r = lifecycle_find(cli, name, &config, &state, f);
	bool alive = box_status_is_alive(state.status);

	code = state.exit_code;
	box_state_deinit(&state);
	if (r == 0 && alive) {
		r = monitor_ask(&cli->home, config.id, json_pack("{s:s}", "op", "wait"), &reply, f);
		if (r == 0)
			code = (int)json_int(reply, "exit_code", 255);
		box_wait_released(&cli->home, config.id);
		/* It ended between the look at its record and the question. */
		if (r < 0 && box_read_state(&cli->home, config.id, &state, f) == 0) {
			code = state.exit_code;
			box_state_deinit(&state);
			r = 0;
		}
	}
	box_config_deinit(&config);
	if (r == 0)
		printf("%d\n", code);
	fflush(stdout);
	return r;
}

static int wait_boxes(struct cli *cli, void *options, char **args, struct failure *f)
{
	return cli_each(cli, args, wait_one, NULL);
}

const struct command cmd_stop = {
	.name = "stop",
	.summary = "Ask boxes to end, and kill those that do not",
	.usage = "[OPTIONS] BOX [BOX...]",
	.options = { .tables = { stop_table } },
	.options_size = sizeof(struct stop_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = stop,
};

const struct command cmd_restart = {
	.name = "restart",
	.summary = "Stop boxes and start them again",
	.usage = "[OPTIONS] BOX [BOX...]",
	.options = { .tables = { stop_table } },
	.options_size = sizeof(struct stop_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_BOX,
	.run = restart,
};

const struct command cmd_kill = {
	.name = "kill",
	.summary = "Send a signal to boxes' processes",
	.usage = "[OPTIONS] BOX [BOX...]",
	.options = { .tables = { kill_table } },
	.options_size = sizeof(struct stop_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = kill_boxes,
};

const struct command cmd_wait = {
	.name = "wait",
	.summary = "Wait until boxes end, and print their exit codes",
	.usage = "BOX [BOX...]",
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = wait_boxes,
};
