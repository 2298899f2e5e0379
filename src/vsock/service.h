/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's requests (control.h), carried out on a device. */
#pragma once

#include "vsock/device.h"

/**
 * struct service - one control socket and its device
 * @configured:	the device is there
 */
struct service {
	struct loop *loop;
	struct loop_io io;
	int fd;
	bool configured;
	uint32_t host_families;
	struct device device;
};

/* Takes fd, a SOCK_SEQPACKET socket. The loop quits with 0 when it closes. 0 or a negative errno. */
int service_init(struct service *s, struct loop *loop, int fd);
void service_deinit(struct service *s);
