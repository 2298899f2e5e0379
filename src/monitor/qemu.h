/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line: the generic machine. Nothing that concerns one box but its size stands here; disks and vsock come
 * over QMP, the rest over the agent. The accelerator probe and a box's VM use the same line.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/proc.h"
#include "monitor/accel.h"

#define QEMU_PROGRAM "qemu-system-x86_64"
#define QEMU_CPUS_MAX 64u

/* Where a hot-plugged device of ours sits; root ports are called "port1" to "port8". */
enum qemu_port { QEMU_PORT_IMAGE = 1, QEMU_PORT_WRITABLE, QEMU_PORT_VSOCK, QEMU_PORT_FIRST_NIC, QEMU_PORTS = 8 };

/* Numbers of the fds in the child. */
enum qemu_fd { QEMU_FD_KERNEL = 3, QEMU_FD_INITRAMFS, QEMU_FD_CONSOLE, QEMU_FD_QMP };

/**
 * struct qemu_machine - what differs between machines
 * @memory:	bytes, whole MiB count
 * @parameters:	more for the kernel's command line, "" for a box
 * @box_id:	for the identity; NULL: a probe
 * @qmp:	whether QEMU_FD_QMP is there; the machine then waits for QMP "cont"
 */
struct qemu_machine {
	enum accel_kind accel;
	int64_t memory;
	unsigned cpus;
	const char *parameters;
	const char *box_id;
	bool qmp;
};

/* Vector for proc_spec.argv, freed with strv_free(). NULL: no memory. */
char **qemu_command(const struct qemu_machine *machine);

/**
 * struct guest_bundle - kernel and initramfs, opened so that an unprivileged QEMU can open them again by fd
 * @identity:	changes when one of the files does
 */
struct guest_bundle {
	int kernel_fd, initramfs_fd;
	char identity[128];
};
#define GUEST_BUNDLE_NULL { .kernel_fd = -1, .initramfs_fd = -1 }
/* Missing: -1 and a sentence that says what to do. */
int guest_bundle_open(struct guest_bundle *bundle, struct failure *f);
void guest_bundle_close(struct guest_bundle *bundle);

/* Path of QEMU, and something that changes with its version. Missing: -1 and what to install. */
int qemu_find(char ret_path[static 4096], char ret_identity[static 64], struct failure *f);

/**
 * Who a helper of this box runs as: (uid_t)-1, ourselves, unless we are root. Root's helpers get a user and group of the box's own,
 * so that one that was taken over can reach neither the host's files nor another box's processes; "nobody" where those numbers
 * do not exist (in a user namespace). box_id NULL: nobody. With KVM the group is that of /dev/kvm.
 */
void qemu_identity(const char *box_id, enum accel_kind accel, uid_t *ret_uid, gid_t *ret_gid);
