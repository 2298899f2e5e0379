/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images: normal form, familiar form, what is refused (I01). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include "image/image.h"
#include "image/reference.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_252 NAME_64 "a" NAME_64 "a" NAME_64 "a" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text, *normal, *familiar;
} good[] = {
	{ "nginx", "docker.io/library/nginx:latest", "nginx:latest" },
	{ "nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25" },
	{ "docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest" },
	{ "docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx:latest" },
	{ "index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest" },
	{ "me/app:v1", "docker.io/me/app:v1", "me/app:v1" },
	{ "library/x/y", "docker.io/library/x/y:latest", "library/x/y:latest" },
	{ "127.0.0.1:5000/nginx", "127.0.0.1:5000/nginx:latest", "127.0.0.1:5000/nginx:latest" },
	{ "127.0.0.1:5000/a/b:tag", "127.0.0.1:5000/a/b:tag", "127.0.0.1:5000/a/b:tag" },
	{ "docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest" },
	{ "docker.io/localhost/c:1", "docker.io/localhost/c:1", "docker.io/localhost/c:1" },
	{ "localhost/a", "localhost/a:latest", "localhost/a:latest" },
	{ "localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a:latest" },
	{ "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000" },
	{ "Host/a", "Host/a:latest", "Host/a:latest" },
	{ "[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b" },
	{ "quay.io/x/y@sha256:" HEX, "quay.io/x/y@sha256:" HEX, "quay.io/x/y@sha256:" HEX },
	{ "nginx:1@sha256:" HEX, "docker.io/library/nginx@sha256:" HEX, "nginx@sha256:" HEX },
	{ "x/a.b__c-d---e/f_g", "docker.io/x/a.b__c-d---e/f_g:latest", "x/a.b__c-d---e/f_g:latest" },
	{ "x:_A.-9", "docker.io/library/x:_A.-9", "x:_A.-9" },
};

static const struct {
	const char *text, *says;
} bad[] = {
	{ "", "invalid reference format" },
	{ ":tag", "invalid reference format" },
	{ "a:", "bad tag" },
	{ "a:-x", "bad tag" },
	{ "a:b c", "bad tag" },
	{ "Nginx", "must be lowercase" },
	{ "host.io/Nginx", "must be lowercase" },
	{ "-a", "invalid reference format" },
	{ "a-", "invalid reference format" },
	{ "a..b", "invalid reference format" },
	{ "a___b", "invalid reference format" },
	{ "a//b", "invalid reference format" },
	{ "/a", "invalid reference format" },
	{ "a/", "invalid reference format" },
	{ "../a", "invalid reference format" },
	{ "a/../b", "invalid reference format" },
	{ "http://host/a", "invalid reference format" },
	{ "host:port/a", "invalid reference format" },
	{ "-h.io/a", "invalid reference format" },
	{ "h-.io/a", "invalid reference format" },
	{ "h..io/a", "invalid reference format" },
	{ "a@sha256:123", "a digest is" },
	{ "a@md5:" HEX, "a digest is" },
	{ "a@", "a digest is" },
	{ HEX, "64-byte hexadecimal" },
	{ "docker.io/" HEX, "64-byte hexadecimal" },
	{ "a b", "invalid reference format" },
	{ "a\nb", "invalid reference format" },
	{ "h.io/" NAME_252, "longer than 255" },
	{ "a.b__c/d", "invalid reference format" },
	{ "--help", "invalid reference format" },
};

static void test_good(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char normal[512], familiar[512], again[512];
		struct failure f = { 0 };
		int r = image_normalize(good[i].text, normal, &f);

		if (r < 0)
			fail_msg("%s: %s", good[i].text, f.text);
		assert_string_equal(normal, good[i].normal);
		image_familiar(normal, familiar);
		assert_string_equal(familiar, good[i].familiar);
		assert_int_equal(image_normalize(familiar, again, &f), 0);
		assert_string_equal(again, normal);
	}
}

static void test_bad(void **state)
{
	char longest[2000];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct failure f = { 0 };
		char normal[512];

		if (image_normalize(bad[i].text, normal, &f) == 0)
			fail_msg("\"%s\" became %s", bad[i].text, normal);
		assert_int_equal(f.code, EXIT_USAGE);
		if (!strstr(f.text, bad[i].says))
			fail_msg("\"%s\" gives: %s", bad[i].text, f.text);
		assert_null(strchr(f.text, '\n'));
	}
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	for (size_t n = 1; n < sizeof(longest); n += 7) {
		struct failure f = { 0 };
		char normal[512];

		(void)image_normalize(longest + n, normal, &f); /* never beyond its room */
	}
}

static void test_loopback(void **state)
{
	static const char *const yes[] = { "localhost", "localhost:5000", "127.0.0.1", "127.0.0.1:5000", "127.9.8.7:1", "[::1]:5000", "[::1]" };
	static const char *const no[] = { "docker.io", "128.0.0.1:5000", "localhost.com", "127.0.0.1.nip.io", "[::2]:5000", "localhostx:1",
					  "1270.0.0.1" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_true(reference_is_loopback(yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		assert_false(reference_is_loopback(no[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
