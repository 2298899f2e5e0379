/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file tree that one layer's tar means, and the clean tar that says the same.
 *
 * A tar is a list of changes to a directory, written by anybody: names lead anywhere, a path comes twice, a link comes
 * before what it names, a whiteout after what it marks. tree_read() applies the list to a tree in memory, where "anywhere" is
 * not reachable; tree_write() reads the same tar again and lets those entries pass that survived, under the path where they ended.
 * Nothing is ever written under a name that the tar gave.
 *
 * Rules (OCI image-spec, layer.md; overlayfs.rst for the result):
 * - Names are relative to the root of the image: leading slashes fall away, a ".." component is refused.
 * - A path through a symbolic link of this layer is followed inside the tree; one that climbs over the root is refused.
 * - Later entries replace earlier ones; directories merge, the last attributes count; replacing a directory drops what was in it.
 * - Hard links: absolute targets and those with ".." are refused. The target is the file that has the name at that point of the
 *   tar. One that only a lower layer has becomes a copy of that file.
 * - ".wh.NAME" becomes a character device 0:0 NAME, unless this layer has NAME itself: then a directory is made opaque, anything
 *   else hides the lower one anyway. ".wh..wh..opq" makes its directory opaque (trusted.overlay.opaque=y). Other ".wh..wh."
 *   names are aufs's private ones, and dropped. A path through a directory ".wh.NAME" is refused.
 * - Directories that no entry names get owner, mode and time from the lower layer that has them, else root, 0755, 0. The root of the
 *   tree asks nobody: overlayfs shows that of the box's own disk.
 * - Kept: type, mode with its special bits, numeric owners (any 32-bit value), time in seconds, device numbers, holes, and the
 *   extended attributes user.*, security.*, trusted.* but trusted.overlay.*. Dropped: ACLs (squashfs has none), owner names, flags.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/stream.h"

struct layer_tree;

/**
 * struct tree_limits - what a layer may cost; tree_limits_read() gives the defaults, changed by the environment
 * @entries:	A3S_IMAGE_MAX_ENTRIES, 1,000,000 entries of the tar
 * @bytes:	A3S_IMAGE_MAX_LAYER, 64g: unpacked size of the tar, and sum of the sizes of its files
 * @ratio:	A3S_IMAGE_MAX_RATIO, 200: unpacked to packed size, once more than 1 GiB came out
 */
struct tree_limits {
	int64_t entries, bytes, ratio;
};
/* -1, code 125 and the variable's name when it has no number. */
int tree_limits_read(struct tree_limits *ret, struct failure *f);

/**
 * struct tree_lower - asks for a path of the layers beneath
 * @find:	1 and a new entry (archive_entry, without data) when there is one, 0 when not, -1 and a sentence
 * @open:	content of a regular file found there
 */
struct archive_entry;
struct tree_lower {
	int (*find)(void *context, const char *path, struct archive_entry **ret, struct failure *f);
	int (*open)(void *context, const char *path, struct stream **ret, struct failure *f);
	void *context;
};

#define TREE_PATH_MAX 4095
#define TREE_DEPTH_MAX 256

/* Limits are copied. NULL: no memory. */
struct layer_tree *tree_new(const struct tree_limits *limits);
/* NULL is fine; returns NULL. */
struct layer_tree *tree_free(struct layer_tree *tree);
/* Once: the plain tar is read up to its end marker. */
int tree_read(struct layer_tree *tree, struct stream *tar, struct failure *f);
/* After tree_read(): whether what tree_write() will write depends on the layers beneath. It follows from the tar alone. */
bool tree_asks_lower(const struct layer_tree *tree);
/*
 * The same tar again -> clean pax archive on fd (blocking). Lower may be NULL when tree_asks_lower() says no; else it means that there is
 * nothing beneath. SIGPIPE is the caller's matter.
 */
int tree_write(struct layer_tree *tree, struct stream *tar, const struct tree_lower *lower, int fd, struct failure *f);
