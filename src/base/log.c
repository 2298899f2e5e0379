/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LIMIT_WINDOW_MS 10000
#define LIMIT_LINES 10

static const char *log_program = "a3s-box";
static enum log_level log_threshold = LOG_LEVEL_WARN;

static const char *const level_names[] = { "error", "warn", "info", "debug" };
/* journald's prefixes: err, warning, info, debug */
static const char *const level_prefixes[] = { "<3>", "<4>", "<6>", "<7>" };

void log_open(const char *program)
{
	const char *wanted = getenv("A3S_LOG");

	log_program = program;
	for (size_t i = 0; wanted && i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(wanted, level_names[i]) == 0)
			log_threshold = (enum log_level)i;
}

bool log_wants(enum log_level level)
{
	return level <= log_threshold;
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved = errno, n, m;
	char line[1024];
	va_list args;

	if (!log_wants(level))
		return;
	n = snprintf(line, sizeof(line), "%s%s[%d]: ", level_prefixes[level], log_program, (int)getpid());
	va_start(args, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	if (m > 0)
		n += m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n); /* there is nowhere to report that logging failed */
	errno = saved;
}

bool log_limit_allows(struct log_limit *limit)
{
	int64_t now = clock_now_ms();

	if (limit->printed == 0 || now - limit->window_start_ms >= LIMIT_WINDOW_MS) {
		if (limit->suppressed)
			log_write(LOG_LEVEL_WARN, "%u similar lines left out", limit->suppressed);
		*limit = (struct log_limit){ .window_start_ms = now };
	}
	if (limit->printed < LIMIT_LINES) {
		limit->printed++;
		return true;
	}
	limit->suppressed++;
	return false;
}
