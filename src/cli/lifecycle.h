/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and stopping a box that has a record: what start, stop and restart share. */
#pragma once

#include "cli/attach.h"
#include "cli/command.h"

/* Find the box and read its record; the caller deinits what it gets. */
int lifecycle_find(struct cli *cli, const char *name, struct box_config *ret_config, struct box_state *ret_state, struct failure *f);
/**
 * Start it; one that runs already is fine. With `attach`, *ret_attached is attached to it from before its first byte.
 * ret_config: its record, for the caller to deinit also after a failure.
 */
int lifecycle_start(struct cli *cli, const char *name, struct box_config *ret_config, const struct attach *attach,
		    int *ret_attached, struct failure *f);
/* Stop it with its own or the given signal and time (NULL: its own); one that does not run is fine. */
int lifecycle_stop(struct cli *cli, const char *name, const char *signal, const struct option_integer *timeout, struct failure *f);
