/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generic machine.
 *
 * q35 with ACPI hot-plug on eight root ports, entered through PVH with an uncompressed kernel. The kernel and the initramfs
 * are handed over as fds, so that a QEMU without privileges needs no way through our directories. RAM is a shared memory
 * file because vhost-user devices read and write it. Devices that our guest does not use are switched off: each costs
 * boot time without KVM, and each is code that a guest could attack.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "a3s/kernel.h"
#include "base/own.h"
#include "base/text.h"
#include "qemu.h"

/* "nobody" on every Linux that matters; asking the name service would pull it into our memory. */
#define NOBODY 65534u
/* Above the ranges of distributions, systemd and container engines, below the sign bit. */
#define BOX_UID_FIRST 1879048192u

static int add_format(char ***v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int add_format(char ***v, const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return n < 0 || (size_t)n >= sizeof(text) ? -ENAMETOOLONG : strv_add(v, text);
}

static const char *const fixed_arguments[] = {
	QEMU_PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
	"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	/* The firmware with the fewest steps: nothing boots from a disk here. */
	"-bios", "qboot.rom",
	"-serial", "chardev:console",
};

static int add_machine(char ***v, const struct qemu_machine *m)
{
	bool kvm = m->accel == ACCEL_KVM;
	int r = 0;

	r |= strv_add(v, "-machine");
	r |= strv_add(v, "q35,memory-backend=ram,sata=off,smbus=off,vmport=off,hpet=off,smm=off,graphics=off");
	r |= strv_add(v, "-accel");
	r |= strv_add(v, kvm ? "kvm" : "tcg,thread=multi");
	r |= strv_add(v, "-cpu");
	r |= strv_add(v, kvm ? "host" : "max,la57=off"); /* five page table levels only cost time when emulated */
	r |= strv_add(v, "-smp");
	r |= add_format(v, "%u", m->cpus);
	r |= strv_add(v, "-m");
	r |= add_format(v, "%lldm", (long long)(m->memory >> 20));
	r |= strv_add(v, "-object");
	r |= add_format(v, "memory-backend-memfd,id=ram,size=%lldm,share=on", (long long)(m->memory >> 20));
	return r;
}

static int add_kernel(char ***v, const struct qemu_machine *m)
{
	int r = 0;

	r |= strv_add(v, "-kernel");
	r |= add_format(v, "/proc/self/fd/%d", QEMU_FD_KERNEL);
	r |= strv_add(v, "-initrd");
	r |= add_format(v, "/proc/self/fd/%d", QEMU_FD_INITRAMFS);
	r |= strv_add(v, "-append");
	r |= add_format(v, "%s%s%s%s", KERNEL_PARAMETERS, m->accel == ACCEL_TCG ? " " KERNEL_PARAMETERS_EMULATED : "",
			*m->parameters ? " " : "", m->parameters);
	r |= strv_add(v, "-chardev");
	r |= add_format(v, "socket,id=console,fd=%d", QEMU_FD_CONSOLE);
	return r;
}

static int add_ports(char ***v)
{
	int r = 0;

	for (int i = 1; i <= QEMU_PORTS; i++) {
		r |= strv_add(v, "-device");
		r |= add_format(v, "pcie-root-port,id=port%d,chassis=%d,slot=%d,romfile=", i, i, i);
	}
	return r;
}

static int add_qmp(char ***v)
{
	int r = 0;

	r |= strv_add(v, "-chardev");
	r |= add_format(v, "socket,id=qmp,fd=%d", QEMU_FD_QMP);
	r |= strv_add(v, "-mon");
	r |= strv_add(v, "chardev=qmp,mode=control");
	r |= strv_add(v, "-S");
	return r;
}

char **qemu_command(const struct qemu_machine *machine)
{
	char **v = NULL;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fixed_arguments); i++)
		r |= strv_add(&v, fixed_arguments[i]);
	r |= add_machine(&v, machine);
	r |= add_kernel(&v, machine);
	r |= add_ports(&v);
	if (machine->qmp)
		r |= add_qmp(&v);
	return r == 0 ? v : strv_free(v);
}

/* QEMU opens the file again through /proc as another user: without read permission for all it gets a copy in memory. */
static int open_for_everybody(const char *path, struct stat *ret_stat)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC), copy = -1;
	off_t at = 0;

	if (fd < 0 || fstat(fd, ret_stat) < 0)
		return -errno;
	if (geteuid() != 0 || (ret_stat->st_mode & S_IROTH))
		return take_fd(&fd);
	copy = memfd_create("a3s-guest", MFD_CLOEXEC);
	if (copy < 0)
		return -errno;
	while (at < ret_stat->st_size) {
		ssize_t n = sendfile(copy, fd, &at, (size_t)(ret_stat->st_size - at));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return take_fd(&copy);
}

static int bundle_open_file(const char *name, int *ret_fd, char *identity, size_t size, struct failure *f)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (proc_find_data(name, path, sizeof(path)) < 0)
		return fail(f, EXIT_USAGE, "guest bundle is incomplete: %s not found; run `make` in the source tree, reinstall "
			    "a3s-box, or set A3S_GUEST_DIR", name);
	fd = open_for_everybody(path, &st);
	if (fd < 0)
		return fail_errno(f, EXIT_USAGE, fd, "cannot read %s of the guest bundle", path);
	*ret_fd = fd;
	snprintf(identity + strlen(identity), size - strlen(identity), "%llx.%llx.%llx ", (long long)st.st_size,
		 (long long)st.st_mtim.tv_sec, (long long)st.st_mtim.tv_nsec);
	return 0;
}

int guest_bundle_open(struct guest_bundle *bundle, struct failure *f)
{
	*bundle = (struct guest_bundle)GUEST_BUNDLE_NULL;
	if (bundle_open_file("vmlinux", &bundle->kernel_fd, bundle->identity, sizeof(bundle->identity), f) < 0 ||
	    bundle_open_file("initramfs", &bundle->initramfs_fd, bundle->identity, sizeof(bundle->identity), f) < 0) {
		guest_bundle_close(bundle);
		return -1;
	}
	return 0;
}

void guest_bundle_close(struct guest_bundle *bundle)
{
	bundle->kernel_fd = close_fd(bundle->kernel_fd);
	bundle->initramfs_fd = close_fd(bundle->initramfs_fd);
}

static int find_in_path(const char *name, char ret_path[static 4096], struct stat *ret_stat)
{
	const char *path = getenv("PATH");

	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");

		if (snprintf(ret_path, 4096, "%.*s/%s", (int)n, path, name) < 4096 && access(ret_path, X_OK) == 0 &&
		    stat(ret_path, ret_stat) == 0 && S_ISREG(ret_stat->st_mode))
			return 0;
		path += n + (path[n] == ':');
	}
	return -ENOENT;
}

int qemu_find(char ret_path[static 4096], char ret_identity[static 64], struct failure *f)
{
	struct stat st;

	if (find_in_path(QEMU_PROGRAM, ret_path, &st) < 0)
		return fail(f, EXIT_USAGE, "%s not found in PATH: install it (Debian: apt-get install qemu-system-x86)", QEMU_PROGRAM);
	snprintf(ret_identity, 64, "%llx.%llx.%llx", (long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec);
	return 0;
}

/* Whether this user namespace has the number: /proc/self/uid_map lists "inside outside count". */
static bool uid_exists(uid_t uid)
{
	_cleanup_fclose_ FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned long first, outside, count;

	while (map && fscanf(map, "%lu %lu %lu", &first, &outside, &count) == 3)
		if (uid >= first && uid - first < count)
			return true;
	return false;
}

/* A number above all that distributions and container engines hand out, from the id's first 27 bits. */
static uid_t box_uid(const char *box_id)
{
	unsigned long bits;
	char digits[8];
	uid_t uid;

	if (!box_id)
		return NOBODY;
	snprintf(digits, sizeof(digits), "%.7s", box_id);
	bits = strtoul(digits, NULL, 16);
	uid = BOX_UID_FIRST + (uid_t)(bits & 0x7ffffff);
	return uid_exists(uid) ? uid : NOBODY;
}

void qemu_identity(const char *box_id, enum accel_kind accel, uid_t *ret_uid, gid_t *ret_gid)
{
	struct stat st;

	*ret_uid = (uid_t)-1;
	*ret_gid = (gid_t)-1;
	if (geteuid() != 0)
		return;
	if (accel == ACCEL_KVM && (stat("/dev/kvm", &st) < 0 || !(st.st_mode & (S_IRGRP | S_IROTH))))
		return; /* for root alone: QEMU must stay root to have it */
	*ret_uid = box_uid(box_id);
	*ret_gid = accel == ACCEL_KVM && !(st.st_mode & S_IROTH) ? st.st_gid : *ret_uid;
}
