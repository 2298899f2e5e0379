/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer from its blob to a squashfs.
 *
 * The blob is read once for its digest, the digest of what it unpacks to, and its tree (tree.h); nothing of it is written but, when it
 * was packed, its bytes into a nameless temporary file. Only when everything is as promised is it read again and passed, cleaned, to
 * tar2sqfs. So a hostile or damaged blob never reaches another program or a file name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/container.h"
#include "image/digest.h"
#include "image/image.h"

/**
 * struct layer_source - what to convert, all borrowed
 * @blob:	name in the container
 * @digest:	the blob's digest, or NULL when nobody promised one
 * @size:	the blob's size in bytes, or -1
 * @diff_id:	digest of what it unpacks to, or NULL: to be found out
 * @lower:	squashfs files of the layers beneath, lowest first
 * @label:	for sentences and progress
 */
struct layer_source {
	struct container *container;
	const char *blob, *digest, *diff_id, *label;
	int64_t size;
	char *const *lower;
	size_t n_lower;
};

/**
 * struct layer_result
 * @diff_id:	digest of what the blob unpacks to
 * @asked_lower: the file is right on these layers beneath only (tree.h); else it says the same on any. layer_name.h: what it is called
 */
struct layer_result {
	char diff_id[DIGEST_TEXT];
	bool asked_lower;
};

/* Write `path` (whole and synced, or not at all); `directory` takes temporary files. Progress counts the blob's bytes. */
int layer_convert(const struct layer_source *source, const char *directory, const char *path,
		  const struct image_progress *progress, struct layer_result *ret, struct failure *f);
