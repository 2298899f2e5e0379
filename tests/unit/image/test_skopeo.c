/* SPDX-License-Identifier: Apache-2.0 */
/* What skopeo says becomes one sentence in docker's words, and its own words stay readable (I01's failures). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include "base/own.h"
#include "image/skopeo.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define LINE(text) "time=\"2024-01-01T00:00:00Z\" level=fatal msg=\"" text "\"\n"

static const struct {
	const char *said, *sentence;
} cases[] = {
	{ LINE("Error parsing image name \\\"docker://127.0.0.1:5000/x\\\": reading manifest latest in 127.0.0.1:5000/x: manifest unknown: manifest unknown"),
	  "x: manifest unknown: no such image or tag (reading manifest latest in "
	  "127.0.0.1:5000/x: manifest unknown: manifest unknown)" },
	{ LINE("pinging container registry 127.0.0.1:1: Get \\\"http://127.0.0.1:1/v2/\\\": dial tcp 127.0.0.1:1: connect: connection refused"),
	  "x: connection refused: is the registry running? (pinging container registry 127.0.0.1:1: Get \"http://127.0.0.1:1/v2/\": dial tcp "
	  "127.0.0.1:1: connect: connection refused)" },
	{ LINE("unable to retrieve auth token: invalid username/password: unauthorized: authentication required"),
	  "x: unauthorized: wrong or missing credentials (see login) (unable to retrieve auth token: invalid username/password: unauthorized: "
	  "authentication required)" },
	{ LINE("Error parsing image name \\\"docker://x\\\": "), "x: Error parsing image name \"docker://x\":" },
	{ "warning\n" LINE("something new\\nwith a line"), "x: something newnwith a line" },
	{ "panic: no quotes here\n\n", "x: panic: no quotes here" },
	{ "", "x: skopeo failed without a word" },
	{ LINE(""), "x: skopeo failed without a word" },
	{ "msg=\"never ends", "x: never ends" },
	{ "msg=\"ends with \\", "x: ends with \\" },
};

static void test_explain(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct failure f = { 0 };

		assert_int_equal(skopeo_explain(cases[i].said, "x", &f), -1);
		assert_int_equal(f.code, EXIT_FAILED);
		assert_string_equal(f.text, cases[i].sentence);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_explain) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
