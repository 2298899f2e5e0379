/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/unit.h"

#include "base/err.h"
#include "base/own.h"
#include "base/text.h"

static void sizes_are_parsed(void **state)
{
	static const struct {
		const char *text;
		int r;
		int64_t bytes;
	} cases[] = {
		{ "0", 0, 0 }, { "512", 0, 512 }, { "64k", 0, 65536 }, { "64K", 0, 65536 }, { "512m", 0, 512 << 20 },
		{ "1g", 0, 1 << 30 }, { "1.5g", 0, 3 << 29 }, { "1GiB", 0, 1 << 30 }, { "7b", 0, 7 }, { "", -EINVAL, 0 },
		{ "m", -EINVAL, 0 }, { "-1", -EINVAL, 0 }, { "1x", -EINVAL, 0 }, { "1mm", -EINVAL, 0 }, { "99999999t", -ERANGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t bytes = 0;

		assert_int_equal(text_to_bytes(cases[i].text, &bytes), cases[i].r);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void numbers_are_whole_and_in_range(void **state)
{
	int64_t v = 7;

	assert_int_equal(text_to_int("65535", 0, 65535, &v), 0);
	assert_int_equal(v, 65535);
	assert_int_equal(text_to_int("65536", 0, 65535, &v), -ERANGE);
	assert_int_equal(text_to_int("99999999999999999999", 0, INT64_MAX, &v), -ERANGE);
	assert_int_equal(text_to_int("12x", 0, 100, &v), -EINVAL);
	assert_int_equal(text_to_int(" 1", 0, 100, &v), -EINVAL);
	assert_int_equal(text_to_int("", 0, 100, &v), -EINVAL);
	assert_int_equal(v, 65535);
}

static void nearest_words_are_near(void **state)
{
	assert_int_equal(text_distance("publish", "publish"), 0);
	assert_int_equal(text_distance("publsh", "publish"), 1);
	assert_int_equal(text_distance("pulbish", "publish"), 1);
	assert_int_equal(text_distance("", "abc"), 3);
}

static void times_round_trip(void **state)
{
	char text[TEXT_TIME_MAX];
	int64_t ns;

	text_time(INT64_C(1700000000123456789), text);
	assert_string_equal(text, "2023-11-14T22:13:20.123456789Z");
	assert_int_equal(text_to_time(text, &ns), 0);
	assert_int_equal(ns, INT64_C(1700000000123456789));
	assert_int_equal(text_to_time("2023-11-14T23:13:20+01:00", &ns), 0);
	assert_int_equal(ns, INT64_C(1700000000) * 1000000000);
	assert_int_equal(text_to_time("yesterday", &ns), -EINVAL);
}

static void durations_read_like_docker(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ 0, "Less than a second" }, { 1, "1 second" }, { 59, "59 seconds" }, { 60, "About a minute" }, { 150, "2 minutes" },
		{ 2760, "46 minutes" }, { 3599, "59 minutes" }, { 3600, "About an hour" }, { 5399, "About an hour" },
		{ 5400, "2 hours" }, { 7200, "2 hours" }, { 86400, "24 hours" }, { 170999, "47 hours" }, { 171000, "2 days" },
		{ 3 * 86400, "3 days" }, { 14 * 86400, "2 weeks" }, { 60 * 86400, "2 months" }, { 730 * 86400, "2 years" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TEXT_TIME_MAX];

		text_duration(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void sizes_read_like_docker(void **state)
{
	char text[16];

	text_size(0, text);
	assert_string_equal(text, "0B");
	text_size(187000000, text);
	assert_string_equal(text, "187MB");
	text_size(1234567890, text);
	assert_string_equal(text, "1.23GB");
	text_size(999999, text);
	assert_string_equal(text, "1MB");
}

static void vectors_own_their_strings(void **state)
{
	char **v = NULL, **copy;

	assert_int_equal(strv_add(&v, "a"), 0);
	assert_int_equal(strv_add(&v, "b"), 0);
	copy = strv_copy(v);
	v = strv_free(v);
	assert_int_equal(strv_length(copy), 2);
	assert_true(strv_has(copy, "b"));
	assert_false(strv_has(copy, "c"));
	strv_free(copy);
}

static void base64_round_trips_and_refuses_what_it_is_not(void **state)
{
	static const char *const wrong[] = { "A", "AAA", "AA=A", "A===", "AAA*", "AAAA=" };
	uint8_t data[256];
	char text[400], *end;
	size_t n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37);
	for (size_t size = 0; size <= sizeof(data); size++) {
		end = text_put_base64(text, data, size);
		*end = '\0';
		assert_int_equal(end - text, (size + 2) / 3 * 4);
		assert_int_equal(text_decode_base64(text, &n), 0);
		assert_int_equal(n, size);
		assert_memory_equal(text, data, size);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(text, sizeof(text), "%s", wrong[i]);
		assert_int_equal(text_decode_base64(text, &n), -EINVAL);
	}
}

static void broken_utf8_is_seen_and_mended(void **state)
{
	static const struct {
		const char *text, *mended;
	} cases[] = {
		{ "", "" }, { "plain", "plain" }, { "gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa6", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa6" },
		{ "caf\xe9", "caf?" }, { "cut\xf0\x9f\x93", "cut???" }, { "\xc0\x80", "??" }, { "\xed\xa0\x80", "???" },
		{ "a\xffz", "a?z" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[32];

		strcpy(text, cases[i].text);
		assert_int_equal(text_is_utf8(text), strcmp(cases[i].text, cases[i].mended) == 0);
		text_mend_utf8(text);
		assert_string_equal(text, cases[i].mended);
	}
}

/* A sentence can always be sent as JSON, even when a cut went through a character. */
static void sentences_are_utf8(void **state)
{
	struct failure f;

	fail_errno(&f, 1, EIO, "%.4s", "caf\xc3\xa9");
	assert_string_equal(f.text, "caf?: Input/output error");
	fail_wrap(&f, "in \xff\n");
	assert_string_equal(f.text, "in ? : caf?: Input/output error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_parsed), cmocka_unit_test(numbers_are_whole_and_in_range),
		cmocka_unit_test(nearest_words_are_near),
		cmocka_unit_test(times_round_trip), cmocka_unit_test(durations_read_like_docker),
		cmocka_unit_test(sizes_read_like_docker), cmocka_unit_test(vectors_own_their_strings),
		cmocka_unit_test(broken_utf8_is_seen_and_mended), cmocka_unit_test(sentences_are_utf8),
		cmocka_unit_test(base64_round_trips_and_refuses_what_it_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
