/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec goes straight to the guest's agent. A detached one leaves a process of ours behind that holds the connection and
 * throws the output away, since the agent hangs up on a command whose connection is gone.
 */
#include <a3s/agent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/lifecycle.h"
#include "cli/monitor_client.h"
#include "cli/values.h"

struct exec_options {
	bool detach, interactive, tty;
	const char *keys, *user, *workdir;
	char **env, **env_file;
};

#define AT(member) offsetof(struct exec_options, member)
static const struct option_spec options_table[] = {
	{ "detach", 'd', NULL, "Run in the background", option_set_switch, AT(detach) },
	{ "detach-keys", 0, "KEYS", "Keys that leave the command (default ctrl-p,ctrl-q)", option_set_text, AT(keys) },
	{ "env", 'e', "NAME[=VALUE]", "Set an environment variable, or pass ours on", option_add_text, AT(env) },
	{ "env-file", 0, "FILE", "Read environment variables from a file", option_add_text, AT(env_file) },
	{ "interactive", 'i', NULL, "Pass standard input on", option_set_switch, AT(interactive) },
	{ "tty", 't', NULL, "Give the command a terminal", option_set_switch, AT(tty) },
	{ "user", 'u', "NAME|UID[:GROUP|GID]", "User that the command runs as", option_set_text, AT(user) },
	{ "workdir", 'w', "PATH", "Working directory in the box", option_set_text, AT(workdir) },
	{ 0 },
};
static const char *const later[] = { "privileged", NULL };

static int build_env(const struct exec_options *o, const struct box_config *config, char ***ret, struct failure *f)
{
	*ret = strv_copy(config->env);
	for (char **file = o->env_file; file && *file; file++) {
		if (value_read_env_file(ret, *file, f) < 0)
			return fail_wrap(f, "--env-file");
	}
	for (char **e = o->env; e && *e; e++) {
		if (value_add_env(ret, *e, f) < 0)
			return fail_wrap(f, "--env");
	}
	if (o->tty && !value_of(*ret, "TERM") && value_add_env(ret, "TERM=xterm", f) < 0)
		return -1;
	return 0;
}

static int build_request(const struct exec_options *o, const struct box_config *config, char **args, json_t **ret, struct failure *f)
{
	char **env = NULL;
	const char *cwd = o->workdir ? o->workdir : config->workdir, *user = o->user ? o->user : config->user;
	uint16_t columns = 0, rows = 0;
	json_t *request;

	if (build_env(o, config, &env, f) < 0) {
		strv_free(env);
		return -1;
	}
	request = json_pack("{s:s, s:o, s:o, s:b, s:b}", "op", "exec", "argv", json_from_strv(args), "env", json_from_strv(env), "stdin",
			    o->interactive && !o->detach, "tty", o->tty);
	strv_free(env);
	if (!request)
		return fail(f, EXIT_USAGE, "out of memory");
	json_object_set_new(request, "cwd", json_string(cwd && *cwd ? cwd : "/"));
	if (user && *user)
		json_object_set_new(request, "user", json_string(user));
	session_terminal_size(&columns, &rows);
	json_object_set_new(request, "columns", json_integer(columns ? columns : 80));
	json_object_set_new(request, "rows", json_integer(rows ? rows : 24));
	*ret = request;
	return 0;
}

/* In the background process: read until the command ends. */
static void drain(int fd)
{
	enum frame_type type;
	size_t size;
	char *payload;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	while (frame_read(fd, &type, &payload, &size) == 0) {
		free(payload);
		if (type == FRAME_EXIT)
			break;
	}
}

static int leave_behind(int fd, struct failure *f)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot start a process");
	if (pid == 0) {
		drain(fd);
		_exit(0);
	}
	return EXIT_DONE;
}

static int converse(struct cli *cli, const struct exec_options *o, const struct box_config *config, int fd, struct failure *f)
{
	struct session session = { .fd = fd, .send_stdin = o->interactive, .tty = o->tty };
	int status = 0, outcome;

	if (session_parse_keys(&session, o->keys, f) < 0)
		return -1;
	outcome = session_run(&session, &status, f);
	if (outcome < 0)
		return -1;
	switch ((enum session_end)outcome) {
	case SESSION_EXITED:
	case SESSION_SIGNALED:
		return status;
	case SESSION_DETACHED:
		return EXIT_DONE;
	case SESSION_OUTPUT_CLOSED:
		return EXIT_FAILED;
	case SESSION_LOST:
	case SESSION_DISMISSED:
	case SESSION_FORCED: /* not with a session that passes nothing on */
		break;
	}
	/* The box took the command with it: as if killed, and nothing is added to the command's own errors. */
	if (!box_is_held(&cli->home, config->id))
		return 128 + 9;
	return fail(f, EXIT_USAGE, "the connection to the command in box %s was lost", config->name);
}

static int exec_in(struct cli *cli, const struct exec_options *o, const struct box_config *config, char **args, struct failure *f)
{
	_cleanup_close_ int fd = -1;
	json_t *request = NULL;

	if (build_request(o, config, args, &request, f) < 0)
		return -1;
	fd = agent_connect(&cli->home, config->id, o->tty ? AGENT_PORT_TERMINAL : AGENT_PORT_EXEC, f);
	if (fd < 0) {
		json_decref(request);
		return -1;
	}
	if (monitor_request(fd, request, NULL, f) < 0)
		return -1;
	return o->detach ? leave_behind(fd, f) : converse(cli, o, config, fd, f);
}

static int check_texts(const struct exec_options *o, char **args, struct failure *f)
{
	if (value_check_text(o->user, f) < 0)
		return fail_wrap(f, "--user");
	if (value_check_text(o->workdir, f) < 0)
		return fail_wrap(f, "--workdir");
	return value_check_texts(args, "argument", f);
}

static int exec(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct exec_options *o = options;
	struct box_config config;
	struct box_state state;
	struct session keys;
	int code;

	if (check_texts(o, args + 1, f) < 0 || session_parse_keys(&keys, o->keys, f) < 0 ||
	    attach_check_terminal(o->tty && !o->detach, o->interactive, f) < 0)
		return -1;
	code = lifecycle_find(cli, args[0], &config, &state, f);
	if (code == 0 && state.status != BOX_RUNNING)
		code = fail(f, EXIT_FAILED, "box %s is not running", args[0]);
	if (code == 0)
		code = exec_in(cli, o, &config, args + 1, f);
	box_config_deinit(&config);
	box_state_deinit(&state);
	return code;
}

const struct command cmd_exec = {
	.name = "exec",
	.summary = "Run another command in a running box",
	.usage = "[OPTIONS] BOX COMMAND [ARG...]",
	.details = "The exit code is that of the command; 126: it could not be run; 127: it is not in the box.",
	.options = { .tables = { options_table }, .later = later, .flags_first = true },
	.options_size = sizeof(struct exec_options),
	.min_args = 2,
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = exec,
};
