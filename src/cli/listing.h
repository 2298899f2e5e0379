/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: one way for ps, images and all that follow to print rows as a table, JSON lines or a template. */
#pragma once

#include <jansson.h>

#include "base/err.h"

/**
 * struct listing - a kind of row
 * @standard:	template of the table that people see, cells separated by \t
 * @quiet:	field printed alone by -q
 * @titles:	{field, heading} for each field; ends with an empty one
 */
struct listing {
	const char *standard, *quiet;
	const struct listing_title {
		const char *field, *heading;
	} *titles;
};

/**
 * Print an array of objects. format NULL or "table": the standard table; "json": one object a line; "table TEMPLATE": with
 * headings; otherwise a template per row. quiet beats everything but an explicit format.
 */
int listing_print(const struct listing *listing, const json_t *rows, const char *format, bool quiet, struct failure *f);
