/* SPDX-License-Identifier: Apache-2.0 */
/* The flags that run and create share, and the record that they and the image make together. */
#pragma once

#include "cli/command.h"
#include "store/box.h"

struct box_options {
	bool interactive, tty, remove, init, read_only, publish_all;
	const char *name, *workdir, *user, *hostname, *entrypoint, *network, *pull, *cpus, *stop_signal;
	char **env, **env_file, **publish, **expose, **net_limits, **dns, **dns_searches, **dns_options, **hosts, **labels, **tmpfs, **log_options;
	int64_t memory;
	struct option_integer stop_timeout;
};

/* For a struct that begins with a struct box_options. */
extern const struct option_spec box_option_table[];
/* docker's flags for run and create that are still to come. */
extern const char *const box_options_later[];

/**
 * Check the flags, get the image (pulling as --pull says), and make the record's content, id included. args: image, then
 * command and arguments. The caller deinits *ret also after a failure.
 */
int box_options_build(struct cli *cli, const struct box_options *options, char **args, struct box_config *ret, struct failure *f);
