/* SPDX-License-Identifier: Apache-2.0 */
/* What to run: the SPEC of include/a3s/agent.h. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/**
 * struct spec - all strings owned
 * @argv:	NULL-terminated, at least one
 * @env:	NULL-terminated "K=V"; PATH, HOSTNAME and, on a terminal, TERM were added where missing
 * @cwd:	absolute, "/" by default
 * @user:	"" for root
 */
struct spec {
	char **argv, **env;
	char *cwd, *user;
	bool init, tty, stdin_open, privileged;
	uint16_t columns, rows;
};
#define SPEC_NULL { 0 }

/* 0, or -1 with a sentence when something needed is missing or malformed. */
int spec_from_json(const json_t *request, const char *hostname, struct spec *ret, struct failure *f);
void spec_deinit(struct spec *spec);
/* Value of a variable, or `fallback`. */
const char *spec_env(const struct spec *spec, const char *name, const char *fallback);
