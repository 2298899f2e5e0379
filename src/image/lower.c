/* SPDX-License-Identifier: Apache-2.0 */
#include "image/lower.h"

void lower_deinit(struct lower *lower)
{
}

int lower_find(void *context, const char *path, struct archive_entry **ret, struct failure *f)
{
	return 0;
}

int lower_open(void *context, const char *path, struct stream **ret, struct failure *f)
{
	return fail(f, EXIT_FAILED, "\"%.200s\" is in a lower layer", path);
}
