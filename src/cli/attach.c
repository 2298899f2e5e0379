/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attach.h"

#include <unistd.h>

#include "base/frame.h"
#include "base/own.h"
#include "cli/command.h"
#include "cli/monitor_client.h"

int attach_check_terminal(bool tty, bool send_stdin, struct failure *f)
{
	if (tty && send_stdin && !isatty(STDIN_FILENO))
		return fail(f, EXIT_USAGE, "-t and -i need a terminal, and standard input is none: leave -t out to use a pipe");
	return 0;
}

/* So that the process starts on a terminal of the right size. */
static void tell_size(int fd)
{
	uint16_t columns, rows;
	uint8_t payload[FRAME_NUMBERS];

	session_terminal_size(&columns, &rows);
	if (!columns || !rows)
		return;
	frame_pack_size(payload, columns, rows);
	/* A failure shows with the first frame that matters. */
	(void)!frame_write(fd, FRAME_RESIZE, payload, sizeof(payload));
}

int attach_open(const struct home *home, const struct box_config *config, const struct attach *attach, struct failure *f)
{
	_cleanup_close_ int fd = monitor_connect(home, config->id, f);
	bool send_stdin = attach->send_stdin && config->open_stdin;
	json_t *request;

	if (fd < 0)
		return -1;
	request = json_pack("{s:s, s:b, s:b}", "op", "attach", "stdin", send_stdin, "wait", attach->hold);
	if (monitor_request(fd, request, NULL, f) < 0)
		return -1;
	if (config->tty)
		tell_size(fd);
	return take_fd(&fd);
}

/* The box's monitor was killed, or the record says more. */
static int fail_lost(const struct home *home, const struct box_config *config, struct failure *f)
{
	struct box_state state = BOX_STATE_NULL;
	int code;

	if (box_wait_released(home, config->id) < 0 || box_read_state(home, config->id, &state, f) < 0)
		return fail(f, EXIT_USAGE, "box %s ended without an exit code", config->name);
	if (state.status == BOX_EXITED && !state.error) {
		code = state.exit_code;
		box_state_deinit(&state);
		return code;
	}
	fail(f, EXIT_USAGE, "box %s: %s", config->name, state.error ? state.error : "it ended without an exit code");
	box_state_deinit(&state);
	return -1;
}

int attach_run(const struct home *home, const struct box_config *config, const struct attach *attach, int fd, struct failure *f)
{
	_cleanup_close_ int socket = fd;
	struct session session = {
		.fd = socket,
		.send_stdin = attach->send_stdin && config->open_stdin,
		.tty = config->tty,
		.pass_signals = attach->pass_signals && !config->tty,
	};
	int status = 0, outcome;

	if (session_parse_keys(&session, attach->keys, f) < 0)
		return -1;
	outcome = session_run(&session, &status, f);
	if (outcome < 0)
		return -1;
	switch ((enum session_end)outcome) {
	case SESSION_EXITED:
		box_wait_released(home, config->id);
		return status;
	case SESSION_DETACHED:
		return EXIT_DONE;
	case SESSION_DISMISSED:
		return fail(f, EXIT_FAILED, "box %s writes faster than its output is read here: detached; logs has the rest",
			    config->name);
	case SESSION_FORCED:
		return fail(f, EXIT_FAILED, "box %s did not end after 3 signals and goes on; \"a3s-box kill %s\" ends it, "
			    "\"a3s-box attach %s\" comes back to it", config->name, config->name, config->name);
	case SESSION_LOST:
		return fail_lost(home, config, f);
	case SESSION_OUTPUT_CLOSED:
		return EXIT_FAILED;
	case SESSION_SIGNALED:
		return status;
	}
	return EXIT_USAGE;
}
