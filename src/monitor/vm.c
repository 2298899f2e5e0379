/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "vm.h"

static struct vm *vm_of_qmp(struct qmp *qmp)
{
	return container_of(qmp, struct vm, qmp);
}

static void vm_on_qmp_event(struct qmp *qmp, const char *name, const json_t *data)
{
	struct vm *vm = vm_of_qmp(qmp);

	log_debug("qemu: event %s", name);
	if (strcmp(name, "DEVICE_DELETED") == 0 && strcmp(json_str(data, "device", ""), "vsock") == 0)
		vm->event(vm, VM_VSOCK_REMOVED, "");
	else if (strcmp(name, "BLOCK_IO_ERROR") == 0)
		log_peer(LOG_LEVEL_WARN, "disk %s: %s", json_str(data, "device", "?"), json_str(data, "reason", "?"));
}

/* The process ends too, or is useless: its end is what counts. */
static void vm_on_qmp_closed(struct qmp *qmp)
{
	child_signal(&vm_of_qmp(qmp)->process, SIGKILL);
}

static void vm_on_process_end(struct child *child, int status)
{
	struct vm *vm = container_of(child, struct vm, process);
	char text[CHILD_LINE_MAX + 64];

	console_drain(&vm->console);
	qmp_close(&vm->qmp);
	console_close(&vm->console);
	if (status > 128)
		snprintf(text, sizeof(text), "%s was killed by signal %d", child->name, status - 128);
	else if (status && *child->last)
		snprintf(text, sizeof(text), "%s", child->last);
	else if (status)
		snprintf(text, sizeof(text), "%s ended with %d", child->name, status);
	else
		*text = '\0';
	vm->event(vm, VM_ENDED, text);
}

static int vm_spawn(struct vm *vm, struct loop *loop, const struct qemu_machine *machine, const struct guest_bundle *bundle,
		    int console_fd, int qmp_fd)
{
	char **argv = qemu_command(machine);
	struct proc_fd fds[] = {
		{ bundle->kernel_fd, QEMU_FD_KERNEL },
		{ bundle->initramfs_fd, QEMU_FD_INITRAMFS },
		{ console_fd, QEMU_FD_CONSOLE },
		{ qmp_fd, QEMU_FD_QMP },
	};
	struct proc_spec spec = PROC_SPEC_NULL;
	int r;

	if (!argv)
		return -ENOMEM;
	spec.argv = (const char *const *)argv;
	spec.fds = fds;
	spec.n_fds = ARRAY_SIZE(fds);
	qemu_identity(machine->box_id, machine->accel, &spec.uid, &spec.gid);
	r = child_start(&vm->process, loop, "qemu", &spec, vm_on_process_end);
	strv_free(argv);
	return r;
}

int vm_start(struct vm *vm, struct loop *loop, const struct qemu_machine *machine, const struct guest_bundle *bundle,
	     vm_event_fn event, struct failure *f)
{
	_cleanup_close_ int console_far = -1, qmp_far = -1;
	int console_fds[2], qmp_fds[2], r;

	vm->event = event;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, console_fds) < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot start the VM");
	console_far = console_fds[1];
	r = console_open(&vm->console, loop, console_fds[0]);
	if (r == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, qmp_fds) < 0)
		r = -errno;
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot start the VM");
	qmp_far = qmp_fds[1];
	vm->qmp.event = vm_on_qmp_event;
	vm->qmp.closed = vm_on_qmp_closed;
	r = qmp_open(&vm->qmp, loop, qmp_fds[0]);
	if (r == 0)
		r = vm_spawn(vm, loop, machine, bundle, console_far, qmp_far);
	if (r < 0) {
		vm_end(vm);
		return fail_errno(f, EXIT_USAGE, r, "cannot start %s", QEMU_PROGRAM);
	}
	return 0;
}

void vm_end(struct vm *vm)
{
	qmp_close(&vm->qmp);
	child_end(&vm->process);
	console_close(&vm->console);
}

static void vm_on_reply(struct qmp *qmp, const char *command, const json_t *result, const char *error)
{
	struct vm *vm = vm_of_qmp(qmp);
	char text[512];

	if (!error)
		return;
	snprintf(text, sizeof(text), "qemu refused %s: %s", command, error);
	vm->event(vm, VM_REFUSED, text);
}

static int vm_execute(struct vm *vm, const char *command, json_t *arguments, int fd)
{
	if (!arguments) {
		close_fd(fd);
		return -ENOMEM;
	}
	return qmp_execute(&vm->qmp, command, arguments, fd, vm_on_reply);
}

/* Hand an fd over for good; takes it. The name under which QEMU opens it goes to ret_name. */
static int vm_give_file(struct vm *vm, int fd, unsigned set, char ret_name[static 32])
{
	snprintf(ret_name, 32, "/dev/fdset/%u", set);
	return vm_execute(vm, "add-fd", json_pack("{s:i}", "fdset-id", (int)set), fd);
}

static int vm_add_disk(struct vm *vm, const char *name, enum qemu_port port)
{
	char bus[16];

	snprintf(bus, sizeof(bus), "port%d", port);
	/* A full host disk is told to the guest: the default would halt the VM. */
	return vm_execute(vm, "device_add",
			  json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "driver", "virtio-blk-pci", "id", name, "drive", name,
				    "serial", name, "bus", bus, "romfile", "", "werror", "report", "rerror", "report"), -1);
}

/* A memory file for reading only: QEMU matches the access mode. */
static int memory_file(const char *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("a3s-image", MFD_CLOEXEC);
	char path[64];
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_full(fd, data, size);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, O_RDONLY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

static int vm_give_layers(struct vm *vm, char *const *files, struct failure *f)
{
	for (unsigned i = 0; files[i]; i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC), r;
		char name[32];

		if (fd < 0)
			return fail_errno(f, EXIT_USAGE, errno, "a part of the image is gone: cannot open %s; pull the image again",
					  files[i]);
		r = vm_give_file(vm, fd, VM_IMAGE_FDSET + i, name);
		if (r < 0)
			return fail_errno(f, EXIT_USAGE, r, "cannot hand %s to qemu", files[i]);
	}
	return 0;
}

int vm_add_image(struct vm *vm, const char *descriptor, char *const *files, struct failure *f)
{
	char name[32];
	int fd, r;

	if (vm_give_layers(vm, files, f) < 0)
		return -1;
	fd = memory_file(descriptor, strlen(descriptor));
	if (fd < 0)
		return fail_errno(f, EXIT_USAGE, fd, "cannot hand the image to qemu");
	r = vm_give_file(vm, fd, VM_DESCRIPTOR_FDSET, name);
	if (r == 0)
		r = vm_execute(vm, "blockdev-add",
			       json_pack("{s:s,s:s,s:b,s:{s:s,s:s,s:s,s:b}}", "driver", "vmdk", "node-name", "image", "read-only", 1,
					 "file", "driver", "file", "filename", name, "locking", "off", "read-only", 1), -1);
	if (r == 0)
		r = vm_add_disk(vm, "image", QEMU_PORT_IMAGE);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot hand the image to qemu") : 0;
}

int vm_add_writable(struct vm *vm, const char *path, bool throw_away, struct failure *f)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r;
	char name[32];

	if (fd < 0)
		return fail_errno(f, EXIT_USAGE, errno, "cannot open the box's disk %s", path);
	/* The box's lock keeps others away; a lock of QEMU's would outlive it for as long as QEMU takes to die. */
	r = vm_give_file(vm, fd, VM_WRITABLE_FDSET, name);
	if (r == 0)
		r = vm_execute(vm, "blockdev-add",
			       json_pack("{s:s,s:s,s:s,s:{s:b},s:{s:s,s:s,s:s,s:s}}", "driver", "raw", "node-name", "writable", "discard",
					 "unmap", "cache", "no-flush", throw_away, "file", "driver", "file", "filename", name, "locking",
					 "off", "discard", "unmap"), -1);
	if (r == 0)
		r = vm_add_disk(vm, "writable", QEMU_PORT_WRITABLE);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot hand the box's disk to qemu") : 0;
}

static void vm_on_vsock_added(struct qmp *qmp, const char *command, const json_t *result, const char *error)
{
	struct vm *vm = vm_of_qmp(qmp);
	char text[512];

	snprintf(text, sizeof(text), "qemu refused the vsock device: %s: %s", command, error ? error : "");
	if (error)
		vm->event(vm, VM_VSOCK_REFUSED, text);
	else if (strcmp(command, "device_add") == 0)
		vm->event(vm, VM_VSOCK_ADDED, "");
}

/* The chardev of a device that is gone; when there is none there is nothing to do. */
static void vm_on_chardev_removed(struct qmp *qmp, const char *command, const json_t *result, const char *error)
{
	if (error)
		log_debug("qemu: %s: %s", command, error);
}

int vm_add_vsock(struct vm *vm, int fd)
{
	char bus[16], old[32], name[32];
	json_t *device;

	snprintf(bus, sizeof(bus), "port%d", QEMU_PORT_VSOCK);
	snprintf(old, sizeof(old), "vsock%u", vm->vsock_generation);
	snprintf(name, sizeof(name), "vsock%u", ++vm->vsock_generation);
	if (vm->vsock_generation > 1)
		qmp_execute(&vm->qmp, "chardev-remove", json_pack("{s:s}", "id", old), -1, vm_on_chardev_removed);
	device = json_pack("{s:s,s:s,s:s,s:s,s:s}", "driver", "vhost-user-vsock-pci", "id", "vsock", "chardev", name, "bus", bus,
			   "romfile", "");
	if (qmp_execute(&vm->qmp, "getfd", json_pack("{s:s}", "fdname", name), fd, vm_on_vsock_added) < 0 || !device ||
	    qmp_execute(&vm->qmp, "chardev-add",
			json_pack("{s:s,s:{s:s,s:{s:{s:s,s:{s:s}},s:b}}}", "id", name, "backend", "type", "socket", "data", "addr",
				  "type", "fd", "data", "str", name, "server", 0), -1, vm_on_vsock_added) < 0) {
		json_decref(device);
		return -ENOMEM;
	}
	return qmp_execute(&vm->qmp, "device_add", device, -1, vm_on_vsock_added);
}

int vm_remove_vsock(struct vm *vm)
{
	return vm_execute(vm, "device_del", json_pack("{s:s}", "id", "vsock"), -1);
}

static void vm_on_continued(struct qmp *qmp, const char *command, const json_t *result, const char *error)
{
	struct vm *vm = vm_of_qmp(qmp);

	vm_on_reply(qmp, command, result, error);
	if (!error)
		vm->event(vm, VM_RUNNING, "");
}

int vm_continue(struct vm *vm)
{
	return qmp_execute(&vm->qmp, "cont", NULL, -1, vm_on_continued);
}
