/* SPDX-License-Identifier: Apache-2.0 */
/* Getting an image for a command that needs one, with progress for a person. */
#pragma once

#include "cli/command.h"
#include "image/image.h"

enum pull_policy { PULL_MISSING, PULL_ALWAYS, PULL_NEVER };

/* NULL: missing. */
int pull_parse_policy(const char *word, enum pull_policy *ret, struct failure *f);
/* The image, fetched as the policy says. EXIT_USAGE and a sentence when it cannot be had. */
int pull_ensure(struct cli *cli, const char *reference, enum pull_policy policy, struct image *ret, struct failure *f);

/* Progress on stderr: one line that is rewritten on a terminal, nothing elsewhere. */
struct pull_progress {
	struct image_progress progress;
	bool shown;
	int64_t shown_ns; /* when: a terminal is rewritten a few times a second at most */
};
void pull_progress_init(struct pull_progress *p, bool quiet);
void pull_progress_done(struct pull_progress *p);
