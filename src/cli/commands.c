/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <stddef.h>

extern const struct command cmd_attach, cmd_complete, cmd_completion, cmd_create, cmd_exec, cmd_images, cmd_info, cmd_inspect, cmd_kill, cmd_load, cmd_login,
	cmd_logout, cmd_logs, cmd_manual, cmd_port, cmd_ps, cmd_pull, cmd_restart, cmd_rm, cmd_rmi, cmd_run, cmd_start, cmd_stats, cmd_stop, cmd_tag,
	cmd_version, cmd_wait;

const struct command *const commands[] = {
	&cmd_run,    &cmd_create, &cmd_start, &cmd_stop, &cmd_restart, &cmd_kill, &cmd_rm,   &cmd_wait,
	&cmd_ps,     &cmd_logs,	  &cmd_exec,  &cmd_attach, &cmd_inspect, &cmd_port, &cmd_stats, &cmd_images, &cmd_pull,
	&cmd_load,   &cmd_rmi,	  &cmd_tag,   &cmd_login, &cmd_logout,	&cmd_info, &cmd_version, &cmd_completion,
	&cmd_complete, &cmd_manual, NULL,
};
