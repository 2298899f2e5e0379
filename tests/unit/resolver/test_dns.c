/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/unit.h"

#include <string.h>

#include "base/own.h"
#include "resolver/dns.h"

#define QUERY "\x12\x34\x01\x00\0\x01\0\0\0\0\0\0" "\3wWw\7example\0" "\0\1\0\1"
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static bool is_query(const char *message, size_t size)
{
	return dns_is_query((const uint8_t *)message, size);
}

static void test_queries(void **state)
{
	uint8_t name[DNS_HEADER + 300] = { 0, 0, 1, 0, 0, 1 };

	assert_true(dns_is_query(BYTES(QUERY)));
	assert_true(dns_is_query(BYTES(QUERY "\0\0\x29\x10\0\0\0\0\0\0\0"))); /* what follows is not ours to judge */
	for (size_t size = 0; size < sizeof(QUERY) - 1; size++)
		assert_false(is_query(QUERY, size));
	assert_true(dns_is_query(BYTES("\0\0\1\0\0\1\0\0\0\0\0\0" "\0" "\0\2\0\1"))); /* the root */
	assert_false(dns_is_query(BYTES("\0\0\x81\0\0\1\0\0\0\0\0\0" "\0" "\0\2\0\1"))); /* an answer */
	assert_false(dns_is_query(BYTES("\0\0\x29\0\0\1\0\0\0\0\0\0" "\0" "\0\6\0\1"))); /* UPDATE */
	assert_false(dns_is_query(BYTES("\0\0\1\0\0\0\0\0\0\0\0\0" "\0" "\0\2\0\1"))); /* no question */
	assert_false(dns_is_query(BYTES("\0\0\1\0\0\2\0\0\0\0\0\0" "\0" "\0\2\0\1"))); /* two */
	assert_false(dns_is_query(BYTES("\0\0\1\0\0\1\0\0\0\0\0\0" "\xc0\x0c" "\0\2\0\1"))); /* points to itself */
	assert_false(dns_is_query(BYTES("\0\0\1\0\0\1\0\0\0\0\0\0" "\x40" "\0\2\0\1\0\0\0\0\0\0\0")));

	/* D08: 255 bytes are a name, 256 are not. */
	for (unsigned i = 0; i < 3; i++)
		name[DNS_HEADER + 64 * i] = 63;
	name[DNS_HEADER + 192] = 61;
	assert_true(dns_is_query(name, DNS_HEADER + 255 + 4));
	name[DNS_HEADER + 192] = 62;
	assert_false(dns_is_query(name, DNS_HEADER + 256 + 4));
}

static bool answers(const char *answer, size_t size, uint16_t id)
{
	return dns_answers((const uint8_t *)answer, size, BYTES(QUERY), id);
}

#define ANSWER "\xab\xcd\x81\x80\0\x01\0\1\0\0\0\0" "\3WwW\7eXample\0" "\0\1\0\1" "\xc0\x0c\0\1\0\1\0\0\0\5\0\4\1\2\3\4"

static void test_answers(void **state)
{
	static const struct {
		size_t at;
		char value;
	} changes[] = { { 0, 0 }, { 2, 1 }, { 2, (char)0x89 }, { 5, 0 }, { 5, 2 }, { 12, 4 }, { 13, 'v' }, { 25, 28 }, { 28, 3 }, { 24, 1 } };
	char changed[sizeof(ANSWER)];

	assert_true(answers(ANSWER, sizeof(ANSWER) - 1, 0xabcd));
	assert_false(answers(ANSWER, sizeof(ANSWER) - 1, 0xabce));
	for (size_t size = 0; size < sizeof(QUERY) - 1; size++)
		assert_false(answers(ANSWER, size, 0xabcd));
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		memcpy(changed, ANSWER, sizeof(ANSWER));
		changed[changes[i].at] = changes[i].value;
		assert_false(answers(changed, sizeof(ANSWER) - 1, 0xabcd));
	}
	assert_true(answers("\xab\xcd\x81\x81\0\0\0\0\0\0\0\0", 12, 0xabcd)); /* FORMERR alone */
	assert_false(answers("\xab\xcd\x81\x83\0\0\0\0\0\0\0\0", 12, 0xabcd)); /* but not NXDOMAIN */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_queries), cmocka_unit_test(test_answers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
