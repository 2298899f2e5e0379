/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lifecycle.h"

#include "base/own.h"
#include "cli/launch.h"
#include "cli/monitor_client.h"
#include "cli/values.h"

int lifecycle_find(struct cli *cli, const char *name, struct box_config *ret_config, struct box_state *ret_state, struct failure *f)
{
	char id[BOX_ID_LENGTH + 1];

	*ret_config = (struct box_config)BOX_CONFIG_NULL;
	*ret_state = (struct box_state)BOX_STATE_NULL;
	if (box_resolve(&cli->home, name, id, f) < 0 || box_read_config(&cli->home, id, ret_config, f) < 0)
		return -1;
	return box_read_state(&cli->home, id, ret_state, f);
}

static int launch_box(struct cli *cli, const struct box_config *config, const struct attach *attach, int *ret_attached,
		      struct failure *f)
{
	_cleanup_close_ int attached = -1;
	struct launch launch = LAUNCH_NULL;
	int r = launch_check_ports(&cli->home, config, f);
	bool ours;

	if (r == 0)
		r = launch_begin(&launch, &cli->home, config->id, f);
	ours = r == 0; /* else the lock may be that of another start, which came first and goes on */
	if (r == 0 && attach) {
		attached = attach_open(&cli->home, config, attach, f);
		r = attached < 0 ? -1 : 0;
	}
	if (r == 0)
		r = launch_go(&launch, false, f);
	if (r == 0)
		r = launch_commit(&launch, f);
	launch_close(&launch);
	if (r < 0 && ours)
		box_wait_released(&cli->home, config->id);
	if (r == 0 && attach)
		*ret_attached = take_fd(&attached);
	return r;
}

int lifecycle_start(struct cli *cli, const char *name, struct box_config *ret_config, const struct attach *attach,
		    int *ret_attached, struct failure *f)
{
	struct box_state state;
	bool alive;

	if (lifecycle_find(cli, name, ret_config, &state, f) < 0)
		return -1;
	alive = box_status_is_alive(state.status);
	box_state_deinit(&state);
	if (attach && attach_check_terminal(ret_config->tty, attach->send_stdin && ret_config->open_stdin, f) < 0)
		return -1;
	if (!alive && launch_box(cli, ret_config, attach, ret_attached, f) < 0)
		return fail_wrap(f, "%s", name);
	if (alive && attach) {
		*ret_attached = attach_open(&cli->home, ret_config, attach, f);
		return *ret_attached < 0 ? -1 : 0;
	}
	return 0;
}

int lifecycle_stop(struct cli *cli, const char *name, const char *signal, const struct option_integer *timeout, struct failure *f)
{
	struct box_config config;
	struct box_state state;
	int number, r = lifecycle_find(cli, name, &config, &state, f);

	number = config.stop_signal;
	if (r == 0 && signal)
		r = value_parse_signal(signal, &number, f);
	if (r == 0 && box_status_is_alive(state.status))
		r = monitor_stop(&cli->home, config.id, number,
				 timeout && timeout->given ? (int)timeout->value : config.stop_timeout, f);
	box_config_deinit(&config);
	box_state_deinit(&state);
	return r;
}
