/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors a person reads.
 *
 * Functions return 0 on success, a negative errno for what was not expected (pass it on), or a positive value of an
 * enum in their own header for an outcome that is part of the contract (handle it where you call).
 *
 * Where a person will read the outcome, the last parameter is a `struct failure *`. Whoever finds the fault writes the
 * sentence, callers put context in front of it, and only a program's outermost layer prints it.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

/* Exit codes that the command line promises. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,	/* the operation failed */
	EXIT_IN_USE = 2,	/* the object is in use by another */
	EXIT_USAGE = 125,	/* wrong usage, or a fault of the engine */
	EXIT_NOT_RUNNABLE = 126, /* command found in the box but not executable */
	EXIT_NOT_FOUND = 127,	/* command not found in the box */
};

/**
 * struct failure - one sentence for a person, and the exit code that goes with it
 * @code:	value of enum exit_code; 0 means "no failure yet"
 * @text:	one line of UTF-8 without a newline: what failed, the object, its holder, the way out
 */
struct failure {
	int code;
	char text[1024];
};

/* Set the sentence (replacing an earlier one). Returns -1, so that `return fail(f, ...)` reads well. */
int fail(struct failure *f, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As fail(), with ": " and the text of errno value `err` (sign ignored) at the end. Returns -1. */
int fail_errno(struct failure *f, int code, int err, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Put "context: " before the sentence that is there. Returns -1. */
int fail_wrap(struct failure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
