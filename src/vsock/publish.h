/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: sockets of the host's, bound by the monitor, whose clients go to listeners in the guest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct device;

/**
 * struct publish_port - names an entry
 * @address:	text as the monitor wrote it
 */
struct publish_port {
	bool is_udp;
	char address[64];
	uint16_t port, guest_port;
};

/* Takes fd (bound; TCP: listening). 0; -EEXIST; another negative errno. */
int publish_add(struct device *d, const struct publish_port *port, int fd);
/* Clients that are connected stay. 0 or -ENOENT. */
int publish_remove(struct device *d, const struct publish_port *port);
void publish_clear(struct device *d);
/* For connection.c: c leaves the queue of clients that wait for the guest. */
void publish_forget_waiting(struct connection *c);
