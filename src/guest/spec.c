/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/spec.h"

#include <a3s/agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"

const char *spec_env(const struct spec *spec, const char *name, const char *fallback)
{
	size_t length = strlen(name);

	for (char **v = spec->env; v && *v; v++)
		if (strncmp(*v, name, length) == 0 && (*v)[length] == '=')
			return *v + length + 1;
	return fallback;
}

static int add_default(struct spec *spec, const char *name, const char *value)
{
	_cleanup_free_ char *entry = NULL;

	if (spec_env(spec, name, NULL))
		return 0;
	if (asprintf(&entry, "%s=%s", name, value) < 0)
		return -1;
	return strv_add(&spec->env, entry);
}

static int add_defaults(struct spec *spec, const char *hostname)
{
	if (add_default(spec, "PATH", AGENT_PATH_DEFAULT) < 0 || add_default(spec, "HOSTNAME", hostname) < 0)
		return -1;
	return spec->tty ? add_default(spec, "TERM", "xterm") : 0;
}

static uint16_t read_u16(const json_t *request, const char *key)
{
	int64_t v = json_int(request, key, 0);

	return v < 0 || v > UINT16_MAX ? 0 : (uint16_t)v;
}

int spec_from_json(const json_t *request, const char *hostname, struct spec *ret, struct failure *f)
{
	const char *cwd = json_str(request, "cwd", "");

	*ret = (struct spec){
		.argv = json_strv(request, "argv"),
		.env = json_strv(request, "env"),
		.cwd = strdup(*cwd ? cwd : "/"),
		.user = strdup(json_str(request, "user", "")),
		.init = json_flag(request, "init", false),
		.tty = json_flag(request, "tty", false),
		.stdin_open = json_flag(request, "stdin", false),
		.privileged = json_flag(request, "privileged", false),
		.columns = read_u16(request, "columns"),
		.rows = read_u16(request, "rows"),
	};
	if (!ret->argv || !ret->env || !ret->cwd || !ret->user || add_defaults(ret, hostname) < 0)
		return fail(f, EXIT_USAGE, "out of memory");
	if (!ret->argv[0])
		return fail(f, EXIT_USAGE, "no command given");
	if (ret->cwd[0] != '/')
		return fail(f, EXIT_USAGE, "the working directory '%s' is invalid: it needs to be an absolute path", ret->cwd);
	return 0;
}

void spec_deinit(struct spec *spec)
{
	strv_free(spec->argv);
	strv_free(spec->env);
	free(spec->cwd);
	free(spec->user);
	*spec = (struct spec){ 0 };
}
