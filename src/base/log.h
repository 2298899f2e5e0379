/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log of the long-lived programs: one line on stderr, "<level>program[pid]: sentence", errno preserved.
 * Libraries return, programs speak: below the programs' own files nothing logs above LOG_LEVEL_DEBUG.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `program` is kept by reference. The level comes from A3S_LOG (error, warn, info, debug; default warn). */
void log_open(const char *program);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool log_wants(enum log_level level);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                          \
	do {                                                    \
		if (log_wants(LOG_LEVEL_DEBUG))                 \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

/* For what a guest or peer can trigger: at most 10 lines in 10 s for each place in the code, then a count. */
struct log_limit {
	int64_t window_start_ms;
	unsigned printed, suppressed;
};
bool log_limit_allows(struct log_limit *limit);
#define log_peer(level, ...)                                    \
	do {                                                    \
		static struct log_limit _limit;                 \
		if (log_wants(level) && log_limit_allows(&_limit))                  \
			log_write(level, __VA_ARGS__);          \
	} while (0)
