/* SPDX-License-Identifier: Apache-2.0 */
/* What a template may call: Go's own functions and docker's, on JSON values. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TEMPLATE_ARGUMENTS_MAX 8

/**
 * struct template_function - one
 * @min, @max:	how many arguments
 * @call:	arguments are borrowed, the result is a new reference; NULL and the reason
 */
struct template_function {
	const char *name;
	size_t min, max;
	json_t *(*call)(json_t **v, size_t n, const char **ret_why);
};

const struct template_function *template_function_find(const char *name);
/* As Go prints a value. */
void template_print_value(FILE *out, const json_t *v);
/* As Go's `if` sees it: what is empty, zero or absent is false. */
bool template_is_true(const json_t *v);
