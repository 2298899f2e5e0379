/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From blobs to an image of the store.
 *
 * Everything is made in a directory of its own, images/incoming/<random>/, whose file `lock` its maker holds. Then, under the home's
 * lock, layers and image move to their places by rename and the catalog names them. Whatever the catalog does not name is garbage:
 * a maker that was killed leaves an incoming directory that nobody holds, or layers that no image has; the next one sweeps both.
 *
 * A layer that is there already is linked into the incoming directory first, so that removing its image meanwhile takes nothing away.
 * The functions take the home's lock themselves; the caller must not hold it.
 */
#pragma once

#include <limits.h>

#include "base/text.h"
#include "image/container.h"
#include "image/image.h"
#include "image/manifest.h"

static inline void own_strv(char ***v)
{
	*v = strv_free(*v);
}
#define _cleanup_strv_ __attribute__((cleanup(own_strv)))

struct incoming {
	char path[PATH_MAX];
	int lock_fd;
};
#define INCOMING_NULL { .lock_fd = -1 }
/* Sweeps first. */
int incoming_make(struct home *home, struct incoming *ret, struct failure *f);
/* Removes the directory and all that is in it. Fine on one that was never made. */
void incoming_remove(struct incoming *in);

/**
 * struct bundle - an image as it was found; all owned
 * @blobs:	name of each layer's blob in the container, lowest first
 * @layers:	what was promised about each; digest "" and size -1: nothing
 * @references:	normalised names it shall have (may be empty)
 * @digest:	"repository@sha256:..." as pulled, or NULL
 */
struct bundle {
	char *config;
	size_t config_size;
	char **blobs;
	struct descriptor *layers;
	size_t n_layers;
	char **references;
	char *digest;
};
void bundle_deinit(struct bundle *b);

/* Check, convert, install. The configuration's digest is the id. */
int bundle_install(struct home *home, struct incoming *in, struct container *container, const struct bundle *bundle,
		   const struct image_progress *progress, struct image *ret, struct failure *f);

/* The image of the catalog, read from its configuration. */
int install_read_image(const struct home *home, const char *id, struct image *ret, char ***ret_diff_ids, struct failure *f);
/* Remove what nobody needs: call with the home locked. Never fails a caller. */
void install_sweep(const struct home *home);
