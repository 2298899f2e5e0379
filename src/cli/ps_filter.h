/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ps --filter KEY=VALUE, docker's keys: values of one key are alternatives (but every label must be there), different keys must
 * all fit. Everything is checked before the first row, so that a filter that cannot be meant is refused instead of showing nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/box.h"

struct ps_filters {
	struct ps_filter *list;
	size_t n;
};

/* EXIT_USAGE and what would have been valid. The texts are borrowed. `before` and `since` look their box up. */
int ps_filters_parse(const struct home *home, char *const *texts, struct ps_filters *ret, struct failure *f);
void ps_filters_deinit(struct ps_filters *filters);
bool ps_filters_pass(const struct ps_filters *filters, const struct box_entry *entry);
/* A state or an exit code was asked for: boxes that do not run are meant too. */
bool ps_filters_want_all(const struct ps_filters *filters);

/* For completion: the i-th key with its "=", and the i-th value of `status`; NULL after the last. */
const char *ps_filter_key(size_t i);
const char *ps_filter_status(size_t i);
