/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of images, by the grammar of docker's reference package:
 *
 *	[domain "/"] path-component ("/" path-component)* [":" tag] ["@" digest]
 *
 * The first component is a domain when it has a '.', a ':' or an upper-case letter, or is "localhost".
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define REFERENCE_MAX 512
#define REFERENCE_NAME_MAX 255
#define REFERENCE_TAG_MAX 128

/**
 * struct reference - a parsed, normalised name
 * @domain:	"docker.io", "127.0.0.1:5000"
 * @name:	domain and path: "docker.io/library/nginx"
 * @tag:	"" when a digest is given; "latest" when nothing was said
 * @digest:	"" or "sha256:<64 hex>"
 */
struct reference {
	char domain[REFERENCE_NAME_MAX + 1];
	char name[REFERENCE_NAME_MAX + 1];
	char tag[REFERENCE_TAG_MAX + 1];
	char digest[72];
};

/* -1, code 125 and the rule that was broken. */
int reference_parse(const char *text, struct reference *ret, struct failure *f);
/* "name:tag" or "name@digest". */
void reference_print(const struct reference *ref, char ret[static REFERENCE_MAX]);
/* "name@digest" with another digest. */
void reference_print_digest(const struct reference *ref, const char *digest, char ret[static REFERENCE_MAX]);
/* Whether the domain is this machine's loopback, whose registries are plain HTTP. */
bool reference_is_loopback(const char *domain);
