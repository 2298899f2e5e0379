/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the layers beneath one that is being converted, looked up as overlayfs would: see struct tree_lower. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "image/stream.h"

struct archive_entry;

/**
 * struct lower - context of both functions
 * @files:	squashfs files, lowest first; borrowed
 */
struct lower {
	char *const *files;
	size_t n;
};
void lower_deinit(struct lower *lower);
int lower_find(void *context, const char *path, struct archive_entry **ret, struct failure *f);
int lower_open(void *context, const char *path, struct stream **ret, struct failure *f);
