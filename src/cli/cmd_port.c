/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/view.h"

/* "80", "80/TCP" -> "80/tcp". */
static int normalize_port(const char *s, char ret[static 16], struct failure *f)
{
	size_t n = strcspn(s, "/");
	char number[8];
	int64_t port;

	snprintf(number, sizeof(number), "%.*s", (int)MIN(n, 7u), s);
	if (n > 5 || text_to_int(number, 1, 65535, &port) < 0 ||
	    (s[n] && strcasecmp(s + n, "/tcp") != 0 && strcasecmp(s + n, "/udp") != 0))
		return fail(f, EXIT_USAGE, "\"%s\" is not PORT or PORT/tcp or PORT/udp", s);
	snprintf(ret, 16, "%d/%s", (int)port, s[n] && !strcasecmp(s + n, "/udp") ? "udp" : "tcp");
	return 0;
}

static void print_bindings(const char *prefix, const json_t *bindings)
{
	json_t *binding;
	size_t i;

	json_array_foreach(bindings, i, binding) {
		const char *address = json_str(binding, "HostIp", "");
		bool v6 = strchr(address, ':') != NULL;

		printf("%s%s%s%s:%s\n", prefix, v6 ? "[" : "", address, v6 ? "]" : "", json_str(binding, "HostPort", ""));
	}
}

static int print_ports(const char *name, json_t *map, const char *wanted, struct failure *f)
{
	char prefix[32], key[16];
	const char *port;
	json_t *bindings;

	if (wanted) {
		if (normalize_port(wanted, key, f) < 0)
			return -1;
		bindings = json_object_get(map, key);
		if (!json_array_size(bindings))
			return fail(f, EXIT_FAILED, "port %s of box %s is not published", key, name);
		print_bindings("", bindings);
		return 0;
	}
	json_object_foreach(map, port, bindings) {
		snprintf(prefix, sizeof(prefix), "%s -> ", port);
		print_bindings(prefix, bindings);
	}
	return 0;
}

static int port(struct cli *cli, void *options, char **args, struct failure *f)
{
	struct box_config config = BOX_CONFIG_NULL;
	struct box_state state = BOX_STATE_NULL;
	_cleanup_json_ json_t *map = NULL;
	char id[BOX_ID_LENGTH + 1];
	int r;

	if (box_resolve(&cli->home, args[0], id, f) < 0)
		return -1;
	r = box_read_config(&cli->home, id, &config, f);
	if (r == 0)
		r = box_read_state(&cli->home, id, &state, f);
	if (r == 0) {
		map = view_port_map(&config, &state);
		r = print_ports(args[0], map, args[1], f);
	}
	box_config_deinit(&config);
	box_state_deinit(&state);
	return r;
}

const struct command cmd_port = {
	.name = "port",
	.summary = "Show where a box's published ports are on the host",
	.usage = "BOX [PORT[/PROTOCOL]]",
	.min_args = 1,
	.max_args = 2,
	.argument = ARGUMENT_RUNNING_BOX,
	.run = port,
};
