/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "image/image.h"
#include "image/reference.h"
#include "image/skopeo.h"

static const char *temporary_directory(void)
{
	const char *dir = getenv("TMPDIR");

	return dir && *dir == '/' ? dir : "/tmp";
}

/* docker's names for its own registry are one key in the auth file. */
static const char *registry_key(const char *registry)
{
	if (!registry || !*registry || strcmp(registry, "index.docker.io") == 0 ||
	    strcmp(registry, "https://index.docker.io/v1/") == 0)
		return "docker.io";
	return registry;
}

int image_login(const char *registry, const char *user, const char *password, bool tls_verify_off, struct failure *f)
{
	const char *key = registry_key(registry);
	const char *arguments[] = { "login", "--username", user, "--password-stdin", key, NULL, NULL };
	struct skopeo_run run = { .arguments = arguments, .directory = temporary_directory(), .input = password, .subject = key };

	if (*key == '-')
		return fail(f, EXIT_USAGE, "\"%s\" is no registry", key);
	if (!*user || !*password)
		return fail(f, EXIT_USAGE, "login needs a user name and a password");
	if (tls_verify_off || reference_is_loopback(key)) {
		arguments[5] = key;
		arguments[4] = "--tls-verify=false";
	}
	return skopeo_run(&run, f);
}

int image_logout(const char *registry, struct failure *f)
{
	const char *key = registry_key(registry);
	const char *const arguments[] = { "logout", key, NULL };
	const struct skopeo_run run = { .arguments = arguments, .directory = temporary_directory(), .subject = key };

	if (*key == '-')
		return fail(f, EXIT_USAGE, "\"%s\" is no registry", key);
	return skopeo_run(&run, f);
}
