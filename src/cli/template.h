/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of Go's templates that people write behind --format: literal text, {{.Field}}, {{.A.B}}, {{json .X}},
 * {{index .X "key" 0}}, {{len .X}}, {{join .X ","}}, {{upper .X}}, {{lower .X}}, {{title .X}}, {{println .X}}, {{eq .X "v"}},
 * {{ne ..}}, {{not ..}}, parentheses, {{range .X}}..{{else}}..{{end}}, {{range $k, $v := .X}}, {{if .X}}..{{else}}..{{end}},
 * {{.}}, {{$}}, trim marks {{- -}} and comments. \t and \n in the text are a tab and a newline, as docker reads them.
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"

/* Write the template, filled in from `value`. -1 with EXIT_USAGE when it is malformed or names a field that is not there. */
int template_render(const char *text, const json_t *value, FILE *out, struct failure *f);
