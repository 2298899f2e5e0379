/* SPDX-License-Identifier: Apache-2.0 */
/* What people write behind flags: signals, names of hosts, environments, processors, times. Sentences on failure, EXIT_USAGE. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3". */
int value_parse_signal(const char *s, int *ret, struct failure *f);
/* Whole or fractional, rounded up, at most `max`. */
int value_parse_cpus(const char *s, unsigned max, unsigned *ret, struct failure *f);
/* Refused when it is not UTF-8: records and requests are JSON. NULL is fine. */
int value_check_text(const char *s, struct failure *f);
/* The same for each of a vector; `what` and its number, from 1, name the one that is refused. */
int value_check_texts(char *const *vector, const char *what, struct failure *f);
int value_check_hostname(const char *s, struct failure *f);
/* A domain as in resolv.conf's search line, "." alone included. */
int value_check_domain(const char *s, struct failure *f);
int value_check_address(const char *s, struct failure *f);
/* "name:address", "name=address", "name:[v6]", "name:host-gateway" -> "name:address". */
int value_parse_host(const char *s, char ret[static 320], struct failure *f);
/* Add "KEY=VALUE" to the vector, replacing an earlier KEY. "KEY" alone takes our own value, or removes KEY when we have none. */
int value_add_env(char ***env, const char *s, struct failure *f);
/* docker's format: KEY=VALUE taken literally, KEY alone, blank lines and lines beginning with # left out. */
int value_read_env_file(char ***env, const char *path, struct failure *f);
/* Value of KEY in a vector of "KEY=VALUE", or NULL. */
const char *value_of(char *const *vector, const char *key);
/* RFC 3339 (with or without zone), a date, seconds since 1970, or a duration back from now: "10m", "1h30m". */
int value_parse_time(const char *s, int64_t *ret_unix_ns, struct failure *f);
