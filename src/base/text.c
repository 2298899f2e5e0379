/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "base/own.h"

#define NS_PER_S INT64_C(1000000000)

char **strv_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
	return NULL;
}

size_t strv_length(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

int strv_add(char ***v, const char *s)
{
	size_t n = strv_length(*v);
	char **more = realloc(*v, (n + 2) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*v = more;
	more[n + 1] = NULL;
	more[n] = strdup(s);
	return more[n] ? 0 : -ENOMEM;
}

char **strv_copy(char *const *v)
{
	char **copy = calloc(1, sizeof(*copy));

	for (; copy && v && *v; v++)
		if (strv_add(&copy, *v) < 0)
			return strv_free(copy);
	return copy;
}

bool strv_has(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (strcmp(*v, s) == 0)
			return true;
	return false;
}

size_t text_utf8_length(const uint8_t *s, size_t size)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > size)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

bool text_is_utf8(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t left = strlen(s), n;

	for (; left > 0; p += n, left -= n) {
		n = text_utf8_length(p, left);
		if (n == 0)
			return false;
	}
	return true;
}

void text_mend_utf8(char *s)
{
	size_t left = strlen(s), n;

	for (; left > 0; s += n, left -= n) {
		n = text_utf8_length((const uint8_t *)s, left);
		if (n == 0) {
			*s = '?';
			n = 1;
		}
	}
}

bool text_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

int text_to_int(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	char *end;
	long long v;

	if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1])))
		return -EINVAL;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int text_to_bytes(const char *s, int64_t *ret)
{
	static const char units[] = "bkmgt";
	char *end;
	const char *unit;
	double v;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	v = strtod(s, &end);
	if (*end) {
		unit = strchr(units, tolower((unsigned char)*end));
		if (!unit || !*unit)
			return -EINVAL;
		for (; unit > units; unit--)
			v *= 1024;
		end++;
		if (tolower((unsigned char)*end) == 'i')
			end++;
		if (tolower((unsigned char)*end) == 'b')
			end++;
		if (*end)
			return -EINVAL;
	}
	if (!(v >= 0 && v < 9e18))
		return -ERANGE;
	*ret = (int64_t)v;
	return 0;
}

int text_to_signal(const char *s)
{
	const char *name = strncasecmp(s, "SIG", 3) ? s : s + 3;
	int64_t number;

	if (text_to_int(s, 1, SIGRTMAX, &number) == 0)
		return (int)number;
	for (int n = 1; n < NSIG; n++) {
		const char *known = sigabbrev_np(n);

		if (known && !strcasecmp(known, name))
			return n;
	}
	if (!strcasecmp(name, "RTMIN"))
		return SIGRTMIN;
	if (!strncasecmp(name, "RTMIN+", 6) && text_to_int(name + 6, 0, SIGRTMAX - SIGRTMIN, &number) == 0)
		return SIGRTMIN + (int)number;
	return 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	return MIN(a, MIN(b, c));
}

unsigned text_distance(const char *a, const char *b)
{
	enum { LONGEST = 64 };
	unsigned rows[3][LONGEST + 1], n = (unsigned)strlen(a), m = (unsigned)strlen(b);

	if (n > LONGEST || m > LONGEST)
		return n > m ? n : m;
	for (unsigned j = 0; j <= m; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], above2[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}

int text_random_id(char ret_id[static 65])
{
	uint8_t bytes[32];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(ret_id + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

void text_time(int64_t unix_ns, char ret[static TEXT_TIME_MAX])
{
	time_t seconds = (time_t)(unix_ns / NS_PER_S);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&seconds, &tm)) {
		ret[0] = '\0';
		return;
	}
	n = strftime(ret, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret + n, TEXT_TIME_MAX - n, ".%09" PRId64 "Z", unix_ns % NS_PER_S);
}

int text_to_time(const char *s, int64_t *ret_unix_ns)
{
	struct tm tm = { 0 };
	const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t fraction = 0, unit = NS_PER_S / 10, offset = 0;

	if (!p)
		return -EINVAL;
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++, unit /= 10)
			fraction += (*p - '0') * unit;
	if (*p == '+' || *p == '-') {
		int hours, minutes, used = 0;

		if (sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2)
			return -EINVAL;
		offset = (*p == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
		p += 1 + used;
	} else if (*p == 'Z') {
		p++;
	}
	if (*p)
		return -EINVAL;
	*ret_unix_ns = ((int64_t)timegm(&tm) - offset) * NS_PER_S + fraction;
	return 0;
}

int64_t text_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* As go-units' HumanDuration: from an hour on, hours are rounded to the nearest, but for those that make years. */
void text_duration(int64_t s, char ret[static TEXT_TIME_MAX])
{
	static const struct {
		int64_t below, unit;
		const char *text;
	} steps[] = {
		{ 1, 1, "Less than a second" }, { 2, 1, "1 second" }, { 60, 1, "%" PRId64 " seconds" },
		{ 120, 60, "About a minute" }, { 3600, 60, "%" PRId64 " minutes" }, { 7200, 3600, "About an hour" },
		{ 172800, 3600, "%" PRId64 " hours" }, { 1209600, 86400, "%" PRId64 " days" },
		{ 5184000, 604800, "%" PRId64 " weeks" }, { 63072000, 2592000, "%" PRId64 " months" },
		{ INT64_MAX, 31536000, "%" PRId64 " years" },
	};
	int64_t rounded = s >= 3600 ? s + 1800 : s;
	size_t i = 0;

	while (rounded >= steps[i].below && i + 1 < ARRAY_SIZE(steps))
		i++;
	if (i + 1 == ARRAY_SIZE(steps))
		rounded = s;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(ret, TEXT_TIME_MAX, steps[i].text, rounded / steps[i].unit);
#pragma GCC diagnostic pop
}

void text_size(int64_t bytes, char ret[static 16])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes;
	size_t unit = 0;

	while (v >= 999.5 && unit + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		unit++;
	}
	(void)snprintf(ret, 16, "%.3g%s", v, units[unit]);
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *text_put_base64(char *out, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t v = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0);

		*out++ = base64_digits[v >> 18];
		*out++ = base64_digits[v >> 12 & 63];
		*out++ = left > 1 ? base64_digits[v >> 6 & 63] : '=';
		*out++ = left > 2 ? base64_digits[v & 63] : '=';
	}
	return out;
}

int text_decode_base64(char *text, size_t *ret_size)
{
	size_t length = strlen(text), n = 0;
	uint32_t bits = 0;

	while (length > 0 && text[length - 1] == '=' && strlen(text) - length < 2)
		length--;
	if (strlen(text) % 4)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		const char *digit = memchr(base64_digits, text[i], 64);

		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - base64_digits);
		if (i % 4)
			text[n++] = (char)(bits >> (6 - 2 * (i % 4)));
	}
	*ret_size = n;
	return 0;
}
