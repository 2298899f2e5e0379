/* SPDX-License-Identifier: Apache-2.0 */
/* Images as people and scripts see them. */
#pragma once

#include <jansson.h>

#include "cli/command.h"

/* What inspect shows of an image. -1 when there is none of this name. */
int image_view_find(struct cli *cli, const char *name, json_t **ret, struct failure *f);
