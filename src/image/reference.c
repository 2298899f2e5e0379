/* SPDX-License-Identifier: Apache-2.0 */
#include "image/reference.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "image/digest.h"
#include "image/image.h"

#define DEFAULT_DOMAIN "docker.io"
#define DEFAULT_NAMESPACE "library/"

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || is_upper(c);
}

/* separator = "." | "_" | "__" | "-"+ ; its length at s, 0 when there is none. */
static size_t separator_length(const char *s)
{
	if (*s == '-')
		return strspn(s, "-");
	if (*s == '_')
		return s[1] == '_' ? 2 : 1;
	return *s == '.' ? 1 : 0;
}

/* path-component = [a-z0-9]+ (separator [a-z0-9]+)* ; returns what follows it, NULL when there is none. */
static const char *skip_component(const char *s)
{
	for (;;) {
		const char *start = s;
		size_t n;

		while (is_lower(*s) || is_digit(*s))
			s++;
		if (s == start)
			return NULL;
		n = separator_length(s);
		if (n == 0)
			return s;
		s += n;
	}
}

static bool path_is_valid(const char *s)
{
	for (;;) {
		s = skip_component(s);
		if (!s)
			return false;
		if (*s == '\0')
			return true;
		if (*s++ != '/')
			return false;
	}
}

static bool port_is_valid(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

/* "[v6]" or dot-separated labels of letters, digits and inner dashes; then an optional port. */
static bool domain_is_valid(const char *s)
{
	if (*s == '[') {
		size_t n = 1 + strspn(s + 1, "0123456789abcdefABCDEF:");

		if (n < 3 || s[n] != ']')
			return false;
		s += n + 1;
		return *s == '\0' || (*s == ':' && port_is_valid(s + 1));
	}
	for (;;) {
		const char *start = s;

		while (is_alnum(*s) || (*s == '-' && s > start))
			s++;
		if (s == start || s[-1] == '-')
			return false;
		if (*s == '\0')
			return true;
		if (*s == ':')
			return port_is_valid(s + 1);
		if (*s++ != '.')
			return false;
	}
}

static bool tag_is_valid(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > REFERENCE_TAG_MAX || !(is_alnum(s[0]) || s[0] == '_'))
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && !strchr("_.-", *s))
			return false;
	return true;
}

/* Length of the domain at the start of a name, 0 when its first component is part of the path. */
static size_t domain_length(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;

	if (n == strlen("localhost") && strncmp(name, "localhost", n) == 0)
		return n;
	for (size_t i = 0; i < n; i++)
		if (name[i] == '.' || name[i] == ':' || is_upper(name[i]))
			return n;
	return 0;
}

static bool is_official(const char *domain, const char *path)
{
	return strcmp(domain, DEFAULT_DOMAIN) == 0 && !strchr(path, '/');
}

static int parse_name(const char *text, const char *name, struct reference *ret, struct failure *f)
{
	size_t n = domain_length(name);
	const char *path = name + n + (n > 0);
	bool ok = true;

	for (const char *p = path; *p; p++)
		if (is_upper(*p))
			return fail(f, EXIT_USAGE, "invalid reference format: repository name (%s) must be lowercase", path);
	if (!path_is_valid(path))
		ok = false;
	(void)snprintf(ret->domain, sizeof(ret->domain), "%.*s", (int)n, name);
	if (n == 0 || strcmp(ret->domain, "index.docker.io") == 0)
		(void)snprintf(ret->domain, sizeof(ret->domain), "%s", DEFAULT_DOMAIN);
	if (!domain_is_valid(ret->domain))
		ok = false;
	if (!ok)
		return fail(f, EXIT_USAGE, "invalid reference format: \"%s\"", text);
	if (is_official(ret->domain, path) && digest_hex_is_valid(path))
		return fail(f, EXIT_USAGE, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", path);
	if (io_path(ret->name, sizeof(ret->name), "%s/%s%s", ret->domain, is_official(ret->domain, path) ? DEFAULT_NAMESPACE : "",
		    path) < 0)
		return fail(f, EXIT_USAGE, "invalid reference format: repository name must not be longer than %d characters",
			    REFERENCE_NAME_MAX);
	return 0;
}

int reference_parse(const char *text, struct reference *ret, struct failure *f)
{
	char name[REFERENCE_MAX], *at, *colon;

	memset(ret, 0, sizeof(*ret));
	if (!*text || strlen(text) >= sizeof(name) - strlen(DEFAULT_DOMAIN "/" DEFAULT_NAMESPACE))
		return fail(f, EXIT_USAGE, "invalid reference format: \"%.600s\"", text);
	(void)snprintf(name, sizeof(name), "%s", text);
	at = strchr(name, '@');
	if (at) {
		*at++ = '\0';
		if (!digest_is_valid(at))
			return fail(f, EXIT_USAGE, "invalid reference format: \"%s\": a digest is sha256: and 64 hexadecimal digits", text);
		(void)snprintf(ret->digest, sizeof(ret->digest), "%s", at);
	}
	colon = strrchr(name, ':');
	if (colon && !strchr(colon, '/')) {
		*colon++ = '\0';
		if (!tag_is_valid(colon))
			return fail(f, EXIT_USAGE, "invalid reference format: \"%s\": bad tag", text);
	} else {
		colon = NULL;
	}
	if (!at)
		(void)snprintf(ret->tag, sizeof(ret->tag), "%s", colon ? colon : "latest");
	return parse_name(text, name, ret, f);
}

void reference_print_digest(const struct reference *ref, const char *digest, char ret[static REFERENCE_MAX])
{
	(void)snprintf(ret, REFERENCE_MAX, "%s@%s", ref->name, digest);
}

void reference_print(const struct reference *ref, char ret[static REFERENCE_MAX])
{
	if (ref->digest[0])
		reference_print_digest(ref, ref->digest, ret);
	else
		(void)snprintf(ret, REFERENCE_MAX, "%s:%s", ref->name, ref->tag);
}

bool reference_is_loopback(const char *domain)
{
	char host[REFERENCE_NAME_MAX + 1];
	struct in_addr v4;
	char *end;

	if (text_starts(domain, "[::1]"))
		return domain[5] == '\0' || domain[5] == ':';
	(void)snprintf(host, sizeof(host), "%s", domain);
	end = strrchr(host, ':');
	if (end)
		*end = '\0';
	if (strcmp(host, "localhost") == 0)
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

int image_normalize(const char *reference, char ret[static 512], struct failure *f)
{
	struct reference ref;

	if (reference_parse(reference, &ref, f) < 0)
		return -1;
	reference_print(&ref, ret);
	return 0;
}

void image_familiar(const char *normalized, char ret[static 512])
{
	const char *s = normalized;

	/* "docker.io/a.b/c" keeps its domain: "a.b/c" means another. */
	if (text_starts(s, DEFAULT_DOMAIN "/") && domain_length(s + strlen(DEFAULT_DOMAIN "/")) == 0) {
		s += strlen(DEFAULT_DOMAIN "/");
		if (text_starts(s, DEFAULT_NAMESPACE) && !strchr(s + strlen(DEFAULT_NAMESPACE), '/'))
			s += strlen(DEFAULT_NAMESPACE);
	}
	(void)snprintf(ret, 512, "%s", s);
}
