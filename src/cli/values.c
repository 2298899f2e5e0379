/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/values.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#define ENV_FILE_MAX (4u << 20)
#define NS 1000000000LL

int value_parse_signal(const char *s, int *ret, struct failure *f)
{
	*ret = text_to_signal(s);
	return *ret ? 0 : fail(f, EXIT_USAGE, "unknown signal \"%s\"", s);
}

int value_parse_cpus(const char *s, unsigned max, unsigned *ret, struct failure *f)
{
	char *end;
	double cpus = strtod(s, &end);

	if (end == s || *end || !(cpus > 0) || strspn(s, "0123456789.") != strlen(s))
		return fail(f, EXIT_USAGE, "\"%s\" is not a number of processors like 2 or 1.5", s);
	if (cpus > max)
		return fail(f, EXIT_USAGE, "%s processors are more than this host's %u", s, max);
	*ret = (unsigned)cpus;
	*ret += *ret < cpus;
	return 0;
}

/* The first bytes, those that are no ASCII as \xNN. */
static void escape(const char *s, char *ret, size_t size)
{
	size_t n = 0;

	for (; *s && n + 5 < size; s++)
		n += (size_t)snprintf(ret + n, size - n, (unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e ? "\\x%02x" : "%c",
				      (unsigned char)*s);
	ret[n] = '\0';
}

int value_check_text(const char *s, struct failure *f)
{
	char shown[120];

	if (!s || text_is_utf8(s))
		return 0;
	escape(s, shown, sizeof(shown));
	return fail(f, EXIT_USAGE, "\"%s\" is not UTF-8 text", shown);
}

int value_check_texts(char *const *vector, const char *what, struct failure *f)
{
	for (size_t i = 0; vector && vector[i]; i++) {
		if (value_check_text(vector[i], f) < 0)
			return fail_wrap(f, "%s %zu", what, i + 1);
	}
	return 0;
}

int value_check_hostname(const char *s, struct failure *f)
{
	size_t label = 0;

	for (const char *p = s; *p; p++) {
		bool inner = *p == '-' || *p == '_';

		if (*p == '.' ? label == 0 : !isalnum((unsigned char)*p) && !(inner && label > 0))
			label = 64;
		label = *p == '.' && label < 64 ? 0 : label + 1;
		if (label > 63)
			break;
	}
	if (label == 0 || label > 63 || strlen(s) > 64)
		return fail(f, EXIT_USAGE,
			    "invalid host name \"%.80s\": letters, digits, \"-\" and \"_\" in parts of at most 63, 64 in all", s);
	return 0;
}

int value_check_domain(const char *s, struct failure *f)
{
	size_t label = 0, length = strlen(s);

	if (strcmp(s, ".") == 0)
		return 0;
	for (const char *p = s; *p && label < 64; p++) {
		bool inner = (*p == '-' || *p == '_') && label > 0;

		if (*p == '.' ? label == 0 : !isalnum((unsigned char)*p) && !inner && *p != '_')
			label = 64;
		else
			label = *p == '.' ? 0 : label + 1;
	}
	if (length == 0 || length > 253 || label > 63)
		return fail(f, EXIT_USAGE, "\"%.80s\" is not a domain like example.org, nor \".\"", s);
	return 0;
}

int value_check_address(const char *s, struct failure *f)
{
	struct in6_addr binary;

	if (inet_pton(AF_INET, s, &binary) == 1 || inet_pton(AF_INET6, s, &binary) == 1)
		return 0;
	return fail(f, EXIT_USAGE, "\"%.60s\" is not a literal IPv4 or IPv6 address", s);
}

int value_parse_host(const char *s, char ret[static 320], struct failure *f)
{
	size_t n = strcspn(s, ":=");
	char name[256], address[64];
	size_t length;

	if (!s[n] || n == 0 || n >= sizeof(name))
		return fail(f, EXIT_USAGE, "\"%.80s\" is not NAME:ADDRESS", s);
	memcpy(name, s, n);
	name[n] = '\0';
	snprintf(address, sizeof(address), "%s", s + n + 1);
	length = strlen(address);
	if (length > 2 && address[0] == '[' && address[length - 1] == ']') {
		address[length - 1] = '\0';
		memmove(address, address + 1, length - 1);
	}
	if (value_check_hostname(name, f) < 0)
		return -1;
	if (strcmp(address, "host-gateway") != 0 && value_check_address(address, f) < 0)
		return -1;
	snprintf(ret, 320, "%s:%s", name, address);
	return 0;
}

const char *value_of(char *const *vector, const char *key)
{
	size_t n = strlen(key);

	for (; vector && *vector; vector++) {
		if (!strncmp(*vector, key, n) && (*vector)[n] == '=')
			return *vector + n + 1;
	}
	return NULL;
}

static void env_remove(char **env, const char *key, size_t n)
{
	char **to = env;

	for (; env && *env; env++) {
		if (!strncmp(*env, key, n) && (*env)[n] == '=')
			free(*env);
		else
			*to++ = *env;
	}
	if (env)
		*to = NULL;
}

/* Put "KEY=VALUE" where KEY was, else at the end. */
static int env_put(char ***env, const char *pair, size_t n)
{
	for (char **p = *env; p && *p; p++) {
		if (strncmp(*p, pair, n) != 0 || (*p)[n] != '=')
			continue;
		free(*p);
		*p = strdup(pair);
		return *p ? 0 : -ENOMEM;
	}
	return strv_add(env, pair);
}

int value_add_env(char ***env, const char *s, struct failure *f)
{
	const char *equals = strchr(s, '='), *value;
	_cleanup_free_ char *pair = NULL;
	size_t n = equals ? (size_t)(equals - s) : strlen(s);

	if (n == 0)
		return fail(f, EXIT_USAGE, "invalid environment variable \"%.80s\": the name is missing", s);
	if (value_check_text(s, f) < 0)
		return -1;
	if (equals)
		return env_put(env, s, n) < 0 ? fail(f, EXIT_USAGE, "out of memory") : 0;
	value = getenv(s);
	if (!value) {
		env_remove(*env, s, n);
		return 0;
	}
	if (asprintf(&pair, "%s=%s", s, value) < 0) {
		pair = NULL;
		return fail(f, EXIT_USAGE, "out of memory");
	}
	if (value_check_text(pair, f) < 0)
		return -1;
	return env_put(env, pair, n) < 0 ? fail(f, EXIT_USAGE, "out of memory") : 0;
}

static int add_env_line(char ***env, char *line, struct failure *f)
{
	char *equals;

	line += strspn(line, " \t\v\f");
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (strcspn(line, " \t") < (equals ? (size_t)(equals - line) : strlen(line)))
		return fail(f, EXIT_USAGE, "the name in \"%.60s\" contains a blank", line);
	/* A name alone that we do not have either: docker leaves it out. */
	if (!equals && !getenv(line))
		return 0;
	return value_add_env(env, line, f);
}

int value_read_env_file(char ***env, const char *path, struct failure *f)
{
	_cleanup_free_ char *text = NULL;
	size_t size, number = 1;
	int r = io_read_file(path, ENV_FILE_MAX, &text, &size);

	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot read the environment file %s", path);
	if (strlen(text) != size)
		return fail(f, EXIT_USAGE, "environment file %s contains a zero byte", path);
	for (char *line = text, *next; line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (*line && line[strlen(line) - 1] == '\r')
			line[strlen(line) - 1] = '\0';
		if (number == 1 && text_starts(line, "\xef\xbb\xbf"))
			line += 3;
		if (add_env_line(env, line, f) < 0)
			return fail_wrap(f, "%s:%zu", path, number);
	}
	return 0;
}

/* "1h30m", "10m", "45s", "1.5h", "100ms". */
static int parse_duration(const char *s, int64_t *ret_ns)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = { { "ms", NS / 1000 }, { "us", 1000 }, { "ns", 1 }, { "h", 3600 * NS }, { "m", 60 * NS }, { "s", NS } };
	double total = 0;

	if (!*s)
		return -EINVAL;
	while (*s) {
		char *end;
		double n = isdigit((unsigned char)*s) ? strtod(s, &end) : -1;
		size_t i = 0;

		if (n < 0)
			return -EINVAL;
		while (i < ARRAY_SIZE(units) && !text_starts(end, units[i].unit))
			i++;
		if (i == ARRAY_SIZE(units))
			return -EINVAL;
		total += n * (double)units[i].ns;
		s = end + strlen(units[i].unit);
	}
	if (!(total < 9e18))
		return -ERANGE;
	*ret_ns = (int64_t)total;
	return 0;
}

/* Local time when there is no zone, as docker reads it. */
static int parse_date(const char *s, int64_t *ret_ns)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(s, forms[i], &tm);

		if (end && !*end) {
			*ret_ns = (int64_t)mktime(&tm) * NS;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_unix(const char *s, int64_t *ret_ns)
{
	char *end;
	double seconds;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	seconds = strtod(s, &end);
	if (*end || !(seconds < 9e9))
		return -EINVAL;
	*ret_ns = (int64_t)(seconds * 1e9);
	return 0;
}

int value_parse_time(const char *s, int64_t *ret_unix_ns, struct failure *f)
{
	int64_t back;

	if (parse_duration(s, &back) == 0) {
		*ret_unix_ns = text_now_ns() - back;
		return 0;
	}
	if (text_to_time(s, ret_unix_ns) == 0 || parse_date(s, ret_unix_ns) == 0 || parse_unix(s, ret_unix_ns) == 0)
		return 0;
	return fail(f, EXIT_USAGE, "\"%s\" is neither a time like 2026-01-31T12:00:00Z nor a duration like 10m", s);
}
