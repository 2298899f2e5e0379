/* SPDX-License-Identifier: GPL-2.0 */
/* Takes the place of the address families PF_INET, PF_INET6, PF_PACKET and PF_VSOCK, so that every new socket passes here once. */
#ifndef TSI_FAMILY_H
#define TSI_FAMILY_H

#include <linux/net.h>

int tsi_family_register(void);
void tsi_family_unregister(void);

/* Inet's own create on @sock. */
int tsi_family_create_inet(struct socket *sock, int family, int protocol);

#endif
