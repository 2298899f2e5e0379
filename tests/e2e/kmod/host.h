/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * A stand-in for the host's half of TSI, as threads of the test program in the guest: it listens on vsock's local CID,
 * where the module is told to find its host. The test holds both ends of a connection: the program's, an ordinary inet
 * socket, and the host's, a vsock one. It cannot refuse a connection or reset one, since vsock sockets cannot; the device's
 * own tests do that.
 *
 * Functions wait until the deadline of the running test and fail it then.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "tsi_protocol.h"

/* Destination ports that the stand-in serves by itself; connections to all others are the test's (host_take). */
enum { HOST_ECHO = 7, HOST_DISCARD = 9 };

struct host_stream {
	int fd;
	uint32_t port;
	struct tsi_message request; /* CONNECT or DATAGRAM as it came */
};

void host_start(void);

/* The next connection of the guest, and the next UDP carrier. */
struct host_stream host_take(void);
struct host_stream host_take_datagram(void);
/* Whether there is one, or comes within the time. */
bool host_has_datagram(int ms);

/* A client of a published port, at @from: the host's end. */
int host_client(uint16_t port, const char *from, uint16_t from_port);
/* Whether a listener on that port has been announced. */
bool host_knows_listener(uint16_t port);
void host_await_listener(uint16_t port, bool there);

/* What the option was last set to for a socket, or -1; waits until it is @value. */
void host_await_option(uint32_t port, enum tsi_option option, uint32_t value);

void host_send(const struct tsi_message *message);
void host_send_error(enum tsi_message_type type, uint32_t port, uint32_t error);

/* Closes the control connection, as a host that dies. */
void host_lose_control(void);
void host_lose_control_if_there(void);
/* Closes what no test has taken. */
void host_close_ready(void);
/* Closes, and opens again, the port that TCP connections come to. */
void host_refuse(bool refuse);

/* Addresses: text to what the protocol has, and to what programs have. */
struct tsi_address host_address(const char *text, uint16_t port);
