// SPDX-License-Identifier: GPL-2.0
/*
 * Transparent socket impersonation, the guest's half: TCP and UDP sockets of programs that have no idea of it are carried
 * by vsock to the host, which has sockets of its own for them. tsi_protocol.h is what both halves say to each other;
 * socket.h how a socket is made up; link.h the locking.
 */
#include "main.h"

#include <linux/module.h>
#include <linux/vm_sockets.h>
#include <linux/workqueue.h>

#include "control.h"
#include "family.h"
#include "link.h"
#include "socket.h"

unsigned int tsi_host_cid = TSI_HOST_CID;
module_param_named(host_cid, tsi_host_cid, uint, 0444);
MODULE_PARM_DESC(host_cid, "vsock address of the host's half (1: a program in this guest, for tests)");

struct workqueue_struct *tsi_workqueue;

static int __init tsi_init(void)
{
	int err;

	tsi_workqueue = alloc_workqueue("tsi", WQ_UNBOUND, 0);
	if (!tsi_workqueue)
		return -ENOMEM;
	err = tsi_socket_init();
	if (err)
		goto err_workqueue;
	err = tsi_family_register();
	if (err)
		goto err_workqueue;
	tsi_control_start();
	return 0;

err_workqueue:
	destroy_workqueue(tsi_workqueue);
	return err;
}

/* Every socket of ours holds the module, so there is none left here. */
static void __exit tsi_exit(void)
{
	tsi_control_stop();
	tsi_family_unregister();
	destroy_workqueue(tsi_workqueue);
	tsi_link_exit();
}

module_init(tsi_init);
module_exit(tsi_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Transparent socket impersonation over vsock");
