/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running skopeo, whose job registries are: transports, tokens, auth files, mirrors, signatures. What it says on failure becomes one
 * sentence in docker's words.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/**
 * struct skopeo_run - one call
 * @arguments:	after "skopeo", NULL-terminated
 * @directory:	takes temporary files
 * @output:	path of a file for its standard output, or NULL
 * @input:	text for its standard input, or NULL
 * @subject:	what it is about, for the sentence: a reference or a registry
 * @poll:	called about five times a second while it runs; NULL: never
 */
struct skopeo_run {
	const char *const *arguments;
	const char *directory, *output, *input, *subject;
	void (*poll)(void *context);
	void *context;
};
int skopeo_run(const struct skopeo_run *run, struct failure *f);

/* The sentence for what skopeo printed on standard error. Returns -1. */
int skopeo_explain(const char *messages, const char *subject, struct failure *f);
