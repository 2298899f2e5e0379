/* SPDX-License-Identifier: Apache-2.0 */
/*
 * a3s-box-resolver: asks the host's DNS servers on behalf of a process that may not open sockets itself.
 *
 *	a3s-box-resolver --fd N [--dns ADDRESS]...
 *
 * N is one end of a SOCK_SEQPACKET socketpair; the program ends when the other end closes. One packet is one message;
 * integers are little-endian; reserved bytes are zero when sent and ignored when read.
 *
 *	query:  le32 id | u8 transport | u8 zero[3] | DNS message, 12 to RESOLVER_DNS_MAX bytes
 *	answer: le32 id | u8 status    | u8 zero[3] | DNS message, empty unless status is RESOLVER_ANSWERED
 *
 * `id` is the asker's own, comes back unchanged, and should not repeat while it is in flight. The DNS id of the answer is
 * that of the query. Every query gets exactly one answer, within RESOLVER_TIMEOUT_MS, in any order. A query that is not a
 * DNS query (malformed, QR set, not one question) and one above RESOLVER_IN_FLIGHT_MAX get RESOLVER_NO_ANSWER at once;
 * with that status the asker makes a SERVFAIL of its own.
 */
#pragma once

#include <stdint.h>

#define RESOLVER_HEADER 8u
#define RESOLVER_DNS_MAX 65535u
#define RESOLVER_IN_FLIGHT_MAX 256u
#define RESOLVER_TIMEOUT_MS 5000 /* shared by the servers tried */
#define RESOLVER_SERVERS_MAX 3u	 /* of --dns or resolv.conf, in their order */

enum resolver_transport {
	RESOLVER_UDP = 0, /* ask over UDP; a truncated answer comes with TC set */
	RESOLVER_TCP = 1, /* ask over TCP: whole answers */
};

enum resolver_status {
	RESOLVER_ANSWERED = 0,	/* a server's answer, NXDOMAIN and the like included */
	RESOLVER_NO_ANSWER = 1, /* no server, or none answered usably in time */
};
