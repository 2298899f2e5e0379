// SPDX-License-Identifier: GPL-2.0
/*
 * A family can be unregistered and another registered in its place with what the kernel exports. What it does not export
 * is the original, which we call for every socket and put back in the end: the table of families is in kallsyms, and where
 * kallsyms_lookup_name is, a kprobe says.
 *
 * Sockets of other network namespaces than the first, and the kernel's own, are as they were.
 *
 * Raw and packet sockets would find nothing but the loopback and never say so: they are refused, and programs that can do
 * without, as ping can, do. Vsock is how the host controls this machine: processes of the box have no business there, the
 * agent, which is in the first pid namespace, has.
 */
#include "family.h"

#include <linux/in.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pid_namespace.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "socket.h"

/* Beside enum tsi_family_index. */
#define FAMILY_PACKET TSI_FAMILIES
#define FAMILY_VSOCK (TSI_FAMILIES + 1)
#define FAMILIES (TSI_FAMILIES + 2)

static const struct net_proto_family *family_original[FAMILIES];

static int family_create(struct net *net, struct socket *sock, int protocol, int kern, enum tsi_family_index i)
{
	bool ours = !kern && net_eq(net, &init_net);
	int err;

	if (ours && sock->type == SOCK_RAW)
		return -EPERM;
	/* What Go's listeners ask for. Neither the host's socket nor the loopback needs more than TCP. */
	if (ours && sock->type == SOCK_STREAM && protocol == IPPROTO_MPTCP)
		protocol = IPPROTO_TCP;
	err = family_original[i]->create(net, sock, protocol, kern);
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

static int family_create_packet(struct net *net, struct socket *sock, int protocol, int kern)
{
	if (!kern && net_eq(net, &init_net))
		return -EPERM;
	return family_original[FAMILY_PACKET]->create(net, sock, protocol, kern);
}

static int family_create_vsock(struct net *net, struct socket *sock, int protocol, int kern)
{
	if (!kern && task_active_pid_ns(current) != &init_pid_ns)
		return -EPERM;
	return family_original[FAMILY_VSOCK]->create(net, sock, protocol, kern);
}

static const struct net_proto_family family_ours[FAMILIES] = {
	[TSI_INET] = { .family = PF_INET, .create = family_create_v4, .owner = THIS_MODULE },
	[TSI_INET6] = { .family = PF_INET6, .create = family_create_v6, .owner = THIS_MODULE },
	[FAMILY_PACKET] = { .family = PF_PACKET, .create = family_create_packet, .owner = THIS_MODULE },
	[FAMILY_VSOCK] = { .family = PF_VSOCK, .create = family_create_vsock, .owner = THIS_MODULE },
};

int tsi_family_create_inet(struct socket *sock, int family, int protocol)
{
	return family_original[family == AF_INET6 ? TSI_INET6 : TSI_INET]->create(&init_net, sock, protocol, 0);
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
	const struct net_proto_family *__rcu *families = lookup ? (void *)lookup("net_families") : NULL;
	int i;

	if (!families)
		return -ENOENT;
	/*
	 * What is there stays: its modules are in use, or are no modules. One that is not there, as IPv6 when it was switched
	 * off at boot, has nothing to replace.
	 */
	for (i = 0; i < FAMILIES; i++)
		family_original[i] = rcu_dereference_protected(families[family_ours[i].family], true);
	return family_original[TSI_INET] && family_original[TSI_INET]->family == PF_INET ? 0 : -ENOENT;
}

static bool family_replaced[FAMILIES];

static int family_replace(const struct net_proto_family *family)
{
	sock_unregister(family->family);
	return sock_register(family);
}

int tsi_family_register(void)
{
	int i, err = family_resolve();

	for (i = 0; i < FAMILIES && !err; i++) {
		if (!family_original[i])
			continue;
		family_replaced[i] = true;
		err = family_replace(&family_ours[i]);
	}
	if (err)
		tsi_family_unregister();
	return err;
}

void tsi_family_unregister(void)
{
	int i;

	for (i = 0; i < FAMILIES; i++)
		WARN_ON(family_replaced[i] && family_replace(family_original[i]));
}
