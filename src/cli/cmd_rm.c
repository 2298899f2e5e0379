/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/command.h"
#include "cli/monitor_client.h"
#include "store/box.h"

struct rm_options {
	bool force, volumes;
};

static const struct option_spec options_table[] = {
	{ "force", 'f', NULL, "Kill a running box; no failure when there is no such box", option_set_switch,
	  offsetof(struct rm_options, force) },
	{ "volumes", 'v', NULL, "Accepted for docker's sake: a box's own disk always goes with it", option_set_switch,
	  offsetof(struct rm_options, volumes) },
	{ 0 },
};
static const char *const later[] = { "link", "l", NULL };

static int remove_one(struct cli *cli, const char *name, void *context, struct failure *f)
{
	const struct rm_options *o = context;
	char id[BOX_ID_LENGTH + 1];
	int r;

	r = box_resolve(&cli->home, name, id, f);
	if (r == BOX_UNKNOWN && o->force)
		return cli_report(f), 0;
	if (r < 0)
		return -1;
	if (o->force && box_is_held(&cli->home, id) && monitor_kill(&cli->home, id, f) < 0)
		return -1;
	/* A box made with --rm may be gone by now: that is what was asked for. */
	if (box_remove(&cli->home, id, f) < 0 && !(o->force && box_is_gone(&cli->home, id)))
		return fail_wrap(f, "%s", name);
	puts(name);
	return 0;
}

static int rm(struct cli *cli, void *options, char **args, struct failure *f)
{
	return cli_each(cli, args, remove_one, options);
}

const struct command cmd_rm = {
	.name = "rm",
	.aliases = "remove",
	.summary = "Remove boxes",
	.usage = "[OPTIONS] BOX [BOX...]",
	.options = { .tables = { options_table }, .later = later },
	.options_size = sizeof(struct rm_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_BOX,
	.run = rm,
};
