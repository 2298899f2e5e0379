/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* A name for a box whose maker gave none: adjective_noun; from the 20th attempt on with a number, so that one is found. */
void names_generate(unsigned attempt, char *ret, size_t size);
