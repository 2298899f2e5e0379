/* SPDX-License-Identifier: Apache-2.0 */
/* T28: which destinations lead to the host's loopback, in every spelling; and address forms. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/own.h"
#include "unit.h"
#include "vsock/policy.h"

static struct tsi_address parse(const char *text, uint16_t port)
{
	struct tsi_address a = { .family = htole16(TSI_FAMILY_V6), .port = htons(port) };

	if (inet_pton(AF_INET6, text, a.bytes) == 1)
		return a;
	a.family = htole16(TSI_FAMILY_V4);
	assert_int_equal(inet_pton(AF_INET, text, a.bytes), 1);
	return a;
}

static void destinations(void **state)
{
	static const struct {
		const char *address;
		uint16_t port;
		int plain, with_gateway;
	} table[] = {
		{ "127.0.0.1", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "127.255.1.2", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "::1", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "::ffff:127.0.0.1", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "0.0.0.0", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "::", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "::ffff:0.0.0.0", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "0.1.2.3", 80, -ENETUNREACH, -ENETUNREACH },
		{ "192.0.0.8", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "192.0.0.9", 53, DESTINATION_RESOLVER, DESTINATION_RESOLVER },
		{ "192.0.0.9", 80, -ECONNREFUSED, -ECONNREFUSED },
		{ "::ffff:192.0.0.9", 53, DESTINATION_RESOLVER, DESTINATION_RESOLVER },
		{ "192.0.0.10", 80, -ECONNREFUSED, DESTINATION_LOOPBACK },
		{ "::ffff:192.0.0.10", 80, -ECONNREFUSED, DESTINATION_LOOPBACK },
		{ "192.0.0.11", 80, -ENETUNREACH, -ENETUNREACH },
		{ "192.0.0.15", 53, -ENETUNREACH, -ENETUNREACH },
		{ "192.0.0.16", 80, DESTINATION_HOST, DESTINATION_HOST },
		{ "192.0.0.7", 80, DESTINATION_HOST, DESTINATION_HOST },
		{ "10.1.2.3", 80, DESTINATION_HOST, DESTINATION_HOST },
		{ "2001:db8::1", 80, DESTINATION_HOST, DESTINATION_HOST },
		{ "::ffff:10.1.2.3", 80, DESTINATION_HOST, DESTINATION_HOST },
	};
	struct tsi_address none = { .family = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct tsi_address a = parse(table[i].address, table[i].port);

		assert_int_equal(policy_destination(&a, false), table[i].plain);
		assert_int_equal(policy_destination(&a, true), table[i].with_gateway);
	}
	assert_int_equal(policy_destination(&none, true), -EAFNOSUPPORT);
}

static void forms(void **state)
{
	struct tsi_address mapped = parse("::ffff:10.1.2.3", 99), v4 = parse("10.1.2.3", 99), v6 = parse("2001:db8::1", 99), back;
	struct sockaddr_storage s;
	socklen_t size;

	assert_true(address_to_sockaddr(&mapped, &s, &size));
	assert_int_equal(s.ss_family, AF_INET);
	back = address_from_sockaddr(&s);
	assert_memory_equal(&back, &v4, sizeof(v4));
	back = address_as(&back, &mapped);
	assert_memory_equal(&back, &mapped, sizeof(mapped));
	assert_true(address_to_sockaddr(&v6, &s, &size));
	assert_int_equal(s.ss_family, AF_INET6);
	assert_int_equal(size, sizeof(struct sockaddr_in6));
	back = address_from_sockaddr(&s);
	assert_memory_equal(&back, &v6, sizeof(v6));
	assert_int_equal(address_port(&back), 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destinations),
		cmocka_unit_test(forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
