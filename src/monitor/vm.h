/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual machine: the QEMU process, its console, its QMP, and the devices that are plugged into it.
 *
 * The machine is started halted and generic; vm_add_*() plug what belongs to one box, vm_continue() lets it run. Calls are
 * queued in order, so all of them may be made right after vm_start(). From the loop's thread.
 */
#pragma once

#include "children.h"
#include "console.h"
#include "qemu.h"
#include "qmp.h"

/* Sets of fds under which QEMU knows the files of its disks. */
enum vm_fdset { VM_WRITABLE_FDSET = 1, VM_DESCRIPTOR_FDSET = 2, VM_IMAGE_FDSET = 100 };

enum vm_event {
	VM_RUNNING,	  /* vm_continue() was done */
	VM_REFUSED,	  /* QEMU refused a command: text is a sentence. The machine is still there */
	VM_VSOCK_ADDED,	  /* the vsock device is plugged */
	VM_VSOCK_REFUSED, /* it could not be plugged: text is a sentence */
	VM_VSOCK_REMOVED, /* the guest has let go of it */
	VM_ENDED,	  /* the process is gone: text is its last words, may be "" */
};

struct vm;
typedef void (*vm_event_fn)(struct vm *vm, enum vm_event event, const char *text);

/**
 * struct vm - embedded in the monitor's box
 * @vsock_generation: how many vsock devices were plugged; names the chardev of the present one
 */
struct vm {
	struct child process;
	struct qmp qmp;
	struct console console;
	unsigned vsock_generation;
	vm_event_fn event;
};
#define VM_NULL { .process = CHILD_NULL, .qmp = QMP_NULL, .console = CONSOLE_NULL }

int vm_start(struct vm *vm, struct loop *loop, const struct qemu_machine *machine, const struct guest_bundle *bundle,
	     vm_event_fn event, struct failure *f);
/* The image's layers as one read-only disk: `files` of image_disk(), and image_disk_descriptor() of VM_IMAGE_FDSET. */
int vm_add_image(struct vm *vm, const char *descriptor, char *const *files, struct failure *f);
/* The box's own disk. `throw_away`: the guest's flushes need not reach the host's disk. */
int vm_add_writable(struct vm *vm, const char *path, bool throw_away, struct failure *f);
/* Takes fd: a connected vhost-user socket whose other end is being served. */
int vm_add_vsock(struct vm *vm, int fd);
int vm_remove_vsock(struct vm *vm);
int vm_continue(struct vm *vm);
/* SIGKILL, reaped; no event follows. */
void vm_end(struct vm *vm);
