/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's interfaces. */
#pragma once

#include <stdbool.h>

/* Bring up lo, and allow what docker allows: every port and datagram ping for everybody. 0 or a negative errno. */
int network_up_loopback(void);

/**
 * What TSI needs on lo: 192.0.0.8/32 and, with ipv6, one unique local address; with loopback addresses alone glibc's
 * AI_ADDRCONFIG resolves nothing. 0 or a negative errno; addresses that are there already are fine.
 */
int network_add_tsi_addresses(bool ipv6);
