/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of Go's templates that people write behind --format: literal text, {{.Field}}, {{.A.B}}, functions
 * (template_functions.c) with arguments, in parentheses and behind "|", {{range .X}}..{{else}}..{{end}}, {{range $k, $v := .X}},
 * {{if .X}}..{{else if .Y}}..{{else}}..{{end}}, {{with .X}}..{{end}}, {{.}}, {{$}}, trim marks {{- -}}, comments, and a row's method
 * {{.Label "key"}}. \t and \n in the text are a tab and a newline, as docker reads them.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"

/* Write the template, filled in from `value`. -1 with EXIT_USAGE when it is malformed or names a field that is not there. */
int template_render(const char *text, const json_t *value, FILE *out, struct failure *f);
