/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/dns.h"

#include "base/wire.h"

#define FLAG_QR 0x8000u
#define OPCODE_MASK 0x7800u
#define RCODE_MASK 0x000fu
#define LABEL_MAX 63u

static uint16_t get16(const uint8_t *message, size_t at)
{
	return (uint16_t)(message[at] << 8 | message[at + 1]);
}

uint16_t dns_id(const uint8_t *message)
{
	return get16(message, 0);
}

void dns_set_id(uint8_t *message, uint16_t id)
{
	message[0] = (uint8_t)(id >> 8);
	message[1] = (uint8_t)id;
}

enum dns_rcode dns_rcode(const uint8_t *message)
{
	return (enum dns_rcode)(get16(message, 2) & RCODE_MASK);
}

static uint16_t flags(const uint8_t *message)
{
	return get16(message, 2);
}

static uint16_t n_questions(const uint8_t *message)
{
	return get16(message, 4);
}

/* Bytes of the first question behind the header: name, type, class. 0 when malformed; a first name is never compressed. */
static size_t question_size(const uint8_t *message, size_t size)
{
	struct wire w = wire_reader(message, size);
	uint8_t label;

	wire_take(&w, DNS_HEADER);
	do {
		label = wire_u8(&w);
		if (label > LABEL_MAX)
			return 0;
		wire_take(&w, label);
	} while (label > 0 && !w.bad);
	if (w.at - DNS_HEADER > DNS_NAME_MAX)
		return 0;
	wire_take(&w, 4);
	return w.bad ? 0 : w.at - DNS_HEADER;
}

bool dns_is_query(const uint8_t *message, size_t size)
{
	return size >= DNS_HEADER && !(flags(message) & (FLAG_QR | OPCODE_MASK)) && n_questions(message) == 1 &&
	       question_size(message, size) > 0;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/*
 * Both are whole, and of one size, so they can be compared byte by byte: label lengths are at most 63 and so are no
 * letters; type and class follow the name and are compared exactly.
 */
static bool same_question(const uint8_t *a, const uint8_t *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (i < size - 4 ? lower(a[i]) != lower(b[i]) : a[i] != b[i])
			return false;
	return true;
}

bool dns_answers(const uint8_t *answer, size_t size, const uint8_t *query, size_t query_size, uint16_t id)
{
	size_t question;

	if (size < DNS_HEADER || dns_id(answer) != id || !(flags(answer) & FLAG_QR) || flags(answer) & OPCODE_MASK)
		return false;
	if (n_questions(answer) == 0)
		return dns_rcode(answer) == DNS_FORMERR;
	question = question_size(answer, size);
	return n_questions(answer) == 1 && question > 0 && question == question_size(query, query_size) &&
	       same_question(answer + DNS_HEADER, query + DNS_HEADER, question);
}
