/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a box: the command line's side of the conversation in monitor/control.h.
 *
 * Until launch_commit() the box hangs on this process: when it dies, the monitor sees the socket close and takes the box down.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "store/box.h"

struct launch {
	int fd;
};
#define LAUNCH_NULL { .fd = -1 }

/* Start the monitor; when it returns, the box can be attached to. */
int launch_begin(struct launch *launch, const struct home *home, const char *id, struct failure *f);
/* Let it boot, and wait until the box's process runs. `remove`: without a commit the record goes too. */
int launch_go(struct launch *launch, bool remove, struct failure *f);
int launch_commit(struct launch *launch, struct failure *f);
/* Without a commit before: the box is taken down. */
void launch_close(struct launch *launch);

/* No box that runs holds one of these ports: EXIT_USAGE, with the holder's name, otherwise. */
int launch_check_ports(const struct home *home, const struct box_config *config, struct failure *f);
