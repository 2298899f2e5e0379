/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "image/catalog.h"

#define ALONE_SUFFIX ".squashfs"
#define CHAIN_SUFFIX ".chain.squashfs"

int layer_name_next(struct layer_name *name, const char *diff_id)
{
	char pair[2 * DIGEST_TEXT];
	int r = 0;

	if (name->chain_id[0]) {
		(void)snprintf(pair, sizeof(pair), "%s %s", name->chain_id, diff_id);
		r = digest_of(pair, strlen(pair), name->chain_id);
	} else {
		(void)snprintf(name->chain_id, sizeof(name->chain_id), "%s", diff_id);
	}
	(void)snprintf(name->alone, sizeof(name->alone), "%s" ALONE_SUFFIX, digest_hex(diff_id));
	(void)snprintf(name->chain, sizeof(name->chain), "%s" CHAIN_SUFFIX, digest_hex(name->chain_id));
	return r;
}

bool layer_name_is_valid(const char *name)
{
	char hex[DIGEST_HEX + 1];

	(void)snprintf(hex, sizeof(hex), "%s", name);
	return digest_hex_is_valid(hex) &&
	       (strcmp(name + DIGEST_HEX, ALONE_SUFFIX) == 0 || strcmp(name + DIGEST_HEX, CHAIN_SUFFIX) == 0);
}

int layer_names_in_store(const struct home *home, char *const *diff_ids, char ***ret_names)
{
	struct layer_name name = { 0 };
	struct failure ignored;
	char path[PATH_MAX];
	int r = 0;

	for (; r == 0 && diff_ids && *diff_ids; diff_ids++) {
		bool chain;

		r = layer_name_next(&name, *diff_ids);
		chain = images_path(home, path, &ignored, "layers/%s", name.chain) == 0 && access(path, F_OK) == 0;
		if (r == 0)
			r = strv_add(ret_names, chain ? name.chain : name.alone);
	}
	return r;
}
