/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TSI_MAIN_H
#define TSI_MAIN_H

#include <linux/types.h>

/* Where the host's half is: CID 2, or the local CID when a program in the guest stands in for it (tests). */
extern unsigned int tsi_host_cid;
extern struct workqueue_struct *tsi_workqueue;

#endif
