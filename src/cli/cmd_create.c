/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/box_options.h"

static int create(struct cli *cli, void *options, char **args, struct failure *f)
{
	struct box_config config = BOX_CONFIG_NULL;
	int pending, r;

	r = box_options_build(cli, options, args, &config, f);
	if (r == 0)
		r = box_create(&cli->home, &config, &pending, f);
	if (r == 0)
		r = box_commit(&cli->home, config.id, &pending, f);
	if (r == 0)
		puts(config.id);
	box_config_deinit(&config);
	return r;
}

const struct command cmd_create = {
	.name = "create",
	.summary = "Make a box from an image without starting it",
	.usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
	.options = { .tables = { box_option_table }, .later = box_options_later, .flags_first = true },
	.options_size = sizeof(struct box_options),
	.min_args = 1,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_IMAGE,
	.run = create,
};
