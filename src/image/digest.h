/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 digests as OCI writes them: "sha256:" and 64 lower-case hexadecimal digits. */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#define DIGEST_HEX 64
#define DIGEST_TEXT 72 /* room for "sha256:<hex>" and a NUL */

bool digest_hex_is_valid(const char *hex);
bool digest_is_valid(const char *text);
/* The hexadecimal part of a valid digest. */
const char *digest_hex(const char *text);

/* A digest over what goes by. NULL: no memory. */
EVP_MD_CTX *digest_new(void);
EVP_MD_CTX *digest_free(EVP_MD_CTX *ctx);
void digest_add(EVP_MD_CTX *ctx, const void *data, size_t size);
/* Ends it; the context can only be freed afterwards. */
void digest_end(EVP_MD_CTX *ctx, char ret[static DIGEST_TEXT]);
int digest_of(const void *data, size_t size, char ret[static DIGEST_TEXT]);
