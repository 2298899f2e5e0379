/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for tests of src/vsock: packets over a ring driver, on the loop of the same thread, and the host's sockets
 * beside it. Everything waits by turning the loop, at most WAIT_MS, and fails the test after that.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring_driver.h"
#include "unit.h"
#include "vsock/device.h"

#define WAIT_MS 2000
#define GUEST_CID 3u
#define GUEST_RX_BUFFERS 64u
#define GUEST_RX_SIZE 4140u
#define GUEST_ROOM (256u << 10)

/**
 * struct guest - the device and its driver
 * @last, @data: packet that guest_expect() took last, and its payload
 * @held:	do not give receive buffers back
 */
struct guest {
	struct loop *loop;
	struct device device;
	struct ring_driver driver;
	uint8_t *rx_buffer[GUEST_RX_BUFFERS];
	uint8_t *tx_buffer;
	struct packet last;
	uint8_t data[65536];
	uint32_t n_data;
	uint32_t room, forwarded; /* advertised with every packet that is sent, but on the control connection: */
	uint32_t control_forwarded;
	char event[32];
};

void guest_start(struct guest *g, bool has_tsi, const struct device_limits *limits);
void guest_stop(struct guest *g);
void guest_turn(struct guest *g);

/* Send a packet; fills in CIDs and credit. */
void guest_send(struct guest *g, uint16_t type, uint16_t op, uint32_t from, uint32_t to, uint32_t flags, const void *data,
		uint32_t size);
/* As it is. `claimed` goes into len. */
void guest_send_raw(struct guest *g, const struct packet *p, const void *data, uint32_t size);
void guest_stream(struct guest *g, uint16_t op, uint32_t from, uint32_t to, const void *data, uint32_t size);
/* Next packet of the host's into last and data. False after WAIT_MS, or with wait false when there is none at once. */
bool guest_receive(struct guest *g, bool wait);
/* The next packet must be this one. */
void guest_expect(struct guest *g, uint16_t op, uint32_t from, uint32_t to);
/* The device has nothing to say. */
void guest_expect_silence(struct guest *g);

/* TSI: open the control connection and say hello. Its guest port is GUEST_CONTROL. */
#define GUEST_CONTROL 0x10000u
void guest_open_tsi(struct guest *g);
void guest_message(struct guest *g, const struct tsi_message *m);
/* The next packet must be a message of this type about this port. */
struct tsi_message guest_expect_message(struct guest *g, enum tsi_message_type type, uint32_t port);
/* CONNECT, REQUEST, CONNECTED, RESPONSE to 127.0.0.1's stand-in (TSI_ADDRESS_HOST). */
void guest_connect(struct guest *g, uint32_t port, uint16_t tcp_port);
void guest_listen(struct guest *g, uint32_t port, uint16_t tcp_port);
/* Answer a REQUEST. */
void guest_accept(struct guest *g, uint32_t to, uint32_t from);

/* Host's side: 127.0.0.1 sockets. Non-blocking. */
int host_listen(uint16_t *ret_port);
int host_accept(struct guest *g, int listener);
int host_connect(uint16_t port);
/* Read exactly, turning the loop. size 0: expect end-of-file. */
void host_read(struct guest *g, int fd, void *data, size_t size);
void host_expect_end(struct guest *g, int fd);
void host_expect_error(struct guest *g, int fd, int error);
