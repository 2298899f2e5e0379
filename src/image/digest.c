/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digest.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define PREFIX "sha256:"

bool digest_hex_is_valid(const char *hex)
{
	return strlen(hex) == DIGEST_HEX && strspn(hex, "0123456789abcdef") == DIGEST_HEX;
}

bool digest_is_valid(const char *text)
{
	return text_starts(text, PREFIX) && digest_hex_is_valid(text + strlen(PREFIX));
}

const char *digest_hex(const char *text)
{
	return text + strlen(PREFIX);
}

EVP_MD_CTX *digest_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		ctx = digest_free(ctx);
	return ctx;
}

EVP_MD_CTX *digest_free(EVP_MD_CTX *ctx)
{
	EVP_MD_CTX_free(ctx);
	return NULL;
}

void digest_add(EVP_MD_CTX *ctx, const void *data, size_t size)
{
	(void)EVP_DigestUpdate(ctx, data, size);
}

void digest_end(EVP_MD_CTX *ctx, char ret[static DIGEST_TEXT])
{
	uint8_t raw[EVP_MAX_MD_SIZE] = { 0 };
	size_t n = strlen(PREFIX);

	(void)snprintf(ret, DIGEST_TEXT, "%s", PREFIX);
	(void)EVP_DigestFinal_ex(ctx, raw, NULL);
	for (size_t i = 0; i < DIGEST_HEX / 2; i++)
		(void)snprintf(ret + n + 2 * i, 3, "%02x", raw[i]);
}

int digest_of(const void *data, size_t size, char ret[static DIGEST_TEXT])
{
	EVP_MD_CTX *ctx = digest_new();

	if (!ctx)
		return -ENOMEM;
	digest_add(ctx, data, size);
	digest_end(ctx, ret);
	(void)digest_free(ctx);
	return 0;
}
