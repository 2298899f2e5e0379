// SPDX-License-Identifier: GPL-2.0
/*
 * A family can be unregistered and another registered in its place with what the kernel exports. What it does not export
 * is the original, which we call for every socket and put back in the end: its address is in kallsyms, and where
 * kallsyms_lookup_name is, a kprobe says.
 *
 * Sockets of other network namespaces than the first, and the kernel's own, are as they were.
 */
#include "family.h"

#include <linux/in.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "socket.h"

static const struct net_proto_family *family_inet[TSI_FAMILIES];

static int family_create(struct net *net, struct socket *sock, int protocol, int kern, enum tsi_family_index i)
{
	bool ours = !kern && net_eq(net, &init_net);
	int err;

	/* What Go's listeners ask for. Neither the host's socket nor the loopback needs more than TCP. */
	if (ours && sock->type == SOCK_STREAM && protocol == IPPROTO_MPTCP)
		protocol = IPPROTO_TCP;
	err = family_inet[i]->create(net, sock, protocol, kern);
	if (!err && ours)
		tsi_socket_adopt(sock);
	return err;
}

static int family_create_v4(struct net *net, struct socket *sock, int protocol, int kern)
{
	return family_create(net, sock, protocol, kern, TSI_INET);
}

static int family_create_v6(struct net *net, struct socket *sock, int protocol, int kern)
{
	return family_create(net, sock, protocol, kern, TSI_INET6);
}

static const struct net_proto_family family_ours[TSI_FAMILIES] = {
	[TSI_INET] = { .family = PF_INET, .create = family_create_v4, .owner = THIS_MODULE },
	[TSI_INET6] = { .family = PF_INET6, .create = family_create_v6, .owner = THIS_MODULE },
};

int tsi_family_create_inet(struct socket *sock, int family, int protocol)
{
	return family_inet[family == AF_INET6 ? TSI_INET6 : TSI_INET]->create(&init_net, sock, protocol, 0);
}

typedef unsigned long (*family_lookup)(const char *name);

static family_lookup family_find_lookup(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	family_lookup lookup;

	if (register_kprobe(&probe))
		return NULL;
	lookup = (family_lookup)probe.addr;
	unregister_kprobe(&probe);
	return lookup;
}

static int family_resolve(void)
{
	family_lookup lookup = family_find_lookup();

	if (!lookup)
		return -ENOENT;
	family_inet[TSI_INET] = (void *)lookup("inet_family_ops");
	family_inet[TSI_INET6] = (void *)lookup("inet6_family_ops");
	if (!family_inet[TSI_INET] || family_inet[TSI_INET]->family != PF_INET)
		return -ENOENT;
	if (!family_inet[TSI_INET6] || family_inet[TSI_INET6]->family != PF_INET6)
		return -ENOENT;
	return 0;
}

static int family_replace(const struct net_proto_family *family)
{
	sock_unregister(family->family);
	return sock_register(family);
}

/* With IPv6 switched off at boot there is nothing to replace. */
static bool family_is_there(int family)
{
	struct socket *sock;

	if (sock_create_kern(&init_net, family, SOCK_DGRAM, 0, &sock))
		return false;
	sock_release(sock);
	return true;
}

static bool family_have_v6;

int tsi_family_register(void)
{
	int err = family_resolve();

	if (err)
		return err;
	family_have_v6 = family_is_there(PF_INET6);
	err = family_replace(&family_ours[TSI_INET]);
	if (!err && family_have_v6)
		err = family_replace(&family_ours[TSI_INET6]);
	if (err)
		tsi_family_unregister();
	return err;
}

void tsi_family_unregister(void)
{
	int err = family_replace(family_inet[TSI_INET]);

	if (!err && family_have_v6)
		err = family_replace(family_inet[TSI_INET6]);
	WARN_ON(err);
}
