/* SPDX-License-Identifier: Apache-2.0 */
#include "store/net_limit.h"

#include <stdint.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"

static const struct net_limit {
	const char *name;
	int64_t min, max;
	bool is_bytes;
} limits[] = {
	{ "connections", 8, 65536, false },
	{ "datagrams", 1, 65536, false },
	{ "flows", 1, 1 << 20, false },
	{ "listeners", 1, 65536, false },
	{ "queued_bytes", 1 << 20, INT32_MAX, true },
};

/* The limit that is named, and its value; NULL: none, or no such value. */
static const struct net_limit *parse(const char *spec, int64_t *ret)
{
	size_t n = strcspn(spec, "=");

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct net_limit *l = &limits[i];

		if (strlen(l->name) != n || strncmp(l->name, spec, n) != 0)
			continue;
		if (!spec[n] || (l->is_bytes ? text_to_bytes(spec + n + 1, ret) : text_to_int(spec + n + 1, l->min, l->max, ret)) < 0 ||
		    *ret < l->min || *ret > l->max)
			*ret = -1;
		return l;
	}
	return NULL;
}

int net_limit_check(const char *spec, struct failure *f)
{
	int64_t value = 0;
	const struct net_limit *l = parse(spec, &value);

	if (!l)
		return fail(f, EXIT_USAGE, "\"%.80s\" is not NAME=NUMBER; names are connections, datagrams, flows, listeners, queued_bytes",
			    spec);
	if (value < 0)
		return fail(f, EXIT_USAGE, "\"%.80s\": %s is a %s from %lld to %lld", spec, l->name, l->is_bytes ? "size" : "number",
			    (long long)l->min, (long long)l->max);
	return 0;
}

json_t *net_limit_to_json(char *const *specs)
{
	json_t *json = json_object();

	for (; json && specs && *specs; specs++) {
		int64_t value = 0;
		const struct net_limit *l = parse(*specs, &value);

		if (l && value > 0)
			json_object_set_new(json, l->name, json_integer(value));
	}
	return json;
}
