/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to ask: the addresses given with --dns, else those of the host's resolv.conf as it is at this moment.
 *
 * There is no watch on the file: each query compares its identity, size and time with those read last, which costs a
 * microsecond, sees through any chain of symbolic links and directories that come and go, needs no wake-up while nobody
 * asks, and cannot miss an event. A file that changed within the last second is read again each time, since its time
 * stamp may not tell two writes apart.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "resolver/protocol.h"

union server {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/**
 * struct servers - the list in use
 * @path:	resolv.conf, by reference; NULL: the list is fixed
 * @port:	of all servers, host order
 * @seen:	the file when it was read; st_ino 0: was not there
 */
struct servers {
	union server list[RESOLVER_SERVERS_MAX];
	unsigned n;
	const char *path;
	uint16_t port;
	struct stat seen;
	bool loaded, recent;
};

/* Nothing in the list yet. path NULL: fixed, by servers_add(). */
void servers_init(struct servers *s, const char *path, uint16_t port);
/*
 * Append an address in text: IPv4 or IPv6, the latter with %interface or %index where it is link-local. 0; -EINVAL when it
 * is no address; 0 without effect when the list is full or the address is one of those that lead back to us (D11).
 */
int servers_add(struct servers *s, const char *text);
/* Make the list current. */
void servers_refresh(struct servers *s);
socklen_t server_size(const union server *server);
