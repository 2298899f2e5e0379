/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules of the initramfs (scripts/make-initramfs.sh puts them there, flat, with lists in load order). */
#pragma once

#define MODULES_DIR "/lib/modules"
#define MODULES_BOOT "boot" /* list: what must be there before the host is answered */
#define MODULES_NET "net"   /* list: network cards */

/* Load all modules of a list. A module that is loaded already is fine. 0, or the first error as a negative errno. */
int modules_load_list(const char *list);
/* Load one, "tsi.ko", with parameters as modprobe gives them ("" for none). 0 or a negative errno. */
int modules_load(const char *file, const char *parameters);
