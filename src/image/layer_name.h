/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer's file is called in images/layers/.
 *
 * A layer's squashfs says the same on every base, unless the layer's tar leaves something to the layers beneath (tree_asks_lower(),
 * a property of the tar alone): then its file is right on one base only. So a layer has one of two names:
 *
 *	<diff id hex>.squashfs		says the same everywhere: shared by all images that have the layer
 *	<chain id hex>.chain.squashfs	asked the layers beneath: shared by images that have these layers beneath it
 *
 * The chain id is the OCI image-spec's (config.md, "Layer ChainID"): of the lowest layer its diff id, of each other the digest of
 * "<chain id beneath> <diff id>". It commits to all content beneath, so no image can plant a file that another will take for its own.
 */
#pragma once

#include <limits.h>

#include "base/err.h"
#include "image/digest.h"
#include "store/home.h"

#define LAYER_NAME 96

/**
 * struct layer_name - both names of one layer in its image; start with a zeroed one
 * @chain_id:	"" before the lowest layer
 */
struct layer_name {
	char chain_id[DIGEST_TEXT];
	char alone[LAYER_NAME], chain[LAYER_NAME];
};

/* From the layer beneath to the one above it. 0 or -ENOMEM. */
int layer_name_next(struct layer_name *name, const char *diff_id);
/* Whether a file name is one of the two forms. */
bool layer_name_is_valid(const char *name);
/* Of an image: each layer's file name, lowest first: that which is there, else the first form. Added to *ret_names. 0 or -ENOMEM. */
int layer_names_in_store(const struct home *home, char *const *diff_ids, char ***ret_names);
