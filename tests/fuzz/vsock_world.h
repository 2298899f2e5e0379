/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device with everything around it, for fuzzers that play its guest: rings, a published port, agent.sock, a
 * resolver, and loopback servers and clients that behave as the input says. It lives in a network namespace of its own,
 * so whatever the guest asks for reaches nobody; where that cannot be made there is no world, and nothing is tested.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "input.h"
#include "vsock/device.h"

#define WORLD_CONTROL 0x10000u
#define WORLD_TCP_PORT 4000u	   /* a server; accepts when told */
#define WORLD_PUBLISHED_PORT 4001u /* the guest's port 80 */
#define WORLD_UDP_PORT 4002u	   /* echoes when told */
#define WORLD_CLIENT_PORT 4010u	   /* and the next: clients of the published UDP port, the guest's 80 */

/* The one world, made at the first call; NULL when it cannot be. Call world_forget() after each input. */
struct device *world(void);
void world_forget(void);

/* A chain for the transmit queue: header as given, payload in `cuts` + 1 buffers. */
void world_send(const struct packet *p, const void *data, uint32_t size, unsigned cuts);
/* An honest packet of the guest's; credit is what it should be. */
void world_packet(uint16_t type, uint16_t op, uint32_t from, uint32_t to, uint32_t flags, const void *data, uint32_t size);
/* Open TSI's control connection as the module does. */
void world_open_control(void);
/* Something happens on the host's side or in the guest's driver: one operation, from the input. */
void world_act(struct fuzz_input *in);
/* Turn the loop and take what the device sends; answers REQUESTs when `accepts`. */
void world_turn(bool accepts);
/* What must always hold. */
void world_check(void);
