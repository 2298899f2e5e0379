/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the layers beneath one that is being converted, looked up as overlayfs would: see struct tree_lower. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "image/stream.h"

struct archive_entry;
struct lower_layer;

/**
 * struct lower - context of both functions
 * @files:	squashfs files of our own making, lowest first; borrowed
 * @layers:	those opened so far
 */
struct lower {
	char *const *files;
	size_t n;
	struct lower_layer **layers;
};
void lower_deinit(struct lower *lower);
int lower_find(void *context, const char *path, struct archive_entry **ret, struct failure *f);
int lower_open(void *context, const char *path, struct stream **ret, struct failure *f);
