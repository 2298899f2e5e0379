/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest asks and what a network answers, as the resolver sees it: a size, the query, the answer (S01, D10). */
#include "input.h"

#include "resolver/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t query_size = fuzz_u16(&in);
	uint8_t *query, *answer;

	if (query_size > in.size)
		query_size = in.size;
	query = malloc(query_size ? query_size : 1); /* exactly, so that a byte too far shows */
	answer = malloc(in.size > query_size ? in.size - query_size : 1);
	fuzz_check(query && answer);
	fuzz_take(&in, query, query_size);
	size = fuzz_take(&in, answer, in.size);
	if (dns_is_query(query, query_size)) {
		fuzz_check(query_size > DNS_HEADER);
		(void)dns_answers(answer, size, query, query_size, size >= 2 ? dns_id(answer) : 0);
	}
	free(query);
	free(answer);
	return 0;
}
