/* SPDX-License-Identifier: Apache-2.0 */
/* The little of a DNS message (RFC 1035 section 4.1) that a forwarder must understand: header and the one question. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12u
#define DNS_NAME_MAX 255u /* on the wire, with its root label */

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

/* Whether this is a standard query with one well-formed question: what may be forwarded. */
bool dns_is_query(const uint8_t *message, size_t size);

uint16_t dns_id(const uint8_t *message);
void dns_set_id(uint8_t *message, uint16_t id);
enum dns_rcode dns_rcode(const uint8_t *message);

/*
 * Whether `answer` (anything a network delivers) answers `query` (dns_is_query() holds) that was sent with `id`: id, QR,
 * opcode and the question agree, the name without regard to case. A FORMERR may come without a question.
 */
bool dns_answers(const uint8_t *answer, size_t size, const uint8_t *query, size_t query_size, uint16_t id);
