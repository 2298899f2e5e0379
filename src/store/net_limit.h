/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a box may use of the host's network at most: "NAME=VALUE" as in --net-limit and in the record. What each means and
 * its default are said in src/vsock/control.h, which takes the same names.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"

/* EXIT_USAGE and the reason: no such limit, or not such a value. */
int net_limit_check(const char *spec, struct failure *f);
/* The "limits" of "configure"; what is wrong in a record is left out. NULL: no memory. */
json_t *net_limit_to_json(char *const *specs);
