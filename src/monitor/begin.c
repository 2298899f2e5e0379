/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that a box needs on the host, in the order in which a fault costs least: ports, disks, then processes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "guest_config.h"
#include "image/image.h"
#include "life.h"

/* Size that the guest sees of its own disk; the file is sparse. */
#define WRITABLE_SIZE (10LL << 30)

static int check_size(const struct life *life, struct failure *f)
{
	if (life->config.memory < BOX_MEMORY_MIN)
		return fail(f, EXIT_USAGE, "%lld MiB of memory are too few: the guest needs at least %lld (-m %lldm)",
			    (long long)(life->config.memory >> 20), BOX_MEMORY_MIN >> 20, BOX_MEMORY_MIN >> 20);
	if (life->config.cpus > QEMU_CPUS_MAX)
		return fail(f, EXIT_USAGE, "%u CPUs are too many: at most %u", life->config.cpus, QEMU_CPUS_MAX);
	return 0;
}

static int reserve_ports(struct life *life, struct failure *f)
{
	if (life->config.network == BOX_NETWORK_NONE)
		return 0; /* nothing could ever answer on them */
	if (ports_reserve(&life->home, &life->config, &life->state, &life->ports, f) < 0)
		return -1;
	free(life->state.bound);
	life->state.bound = ports_bound(&life->ports);
	life->state.n_bound = life->state.bound ? life->ports.n : 0;
	return 0;
}

/* Made under another name first: a half-made disk is never taken for one. */
static int make_disk(const struct life *life, char ret_path[static PATH_MAX], struct failure *f)
{
	char fresh[PATH_MAX];
	int r = box_path(&life->home, life->config.id, "writable.ext4", ret_path);

	if (r == 0)
		r = box_path(&life->home, life->config.id, "writable.ext4.new", fresh);
	if (r < 0)
		return fail_errno(f, EXIT_USAGE, r, "cannot name the box's disk");
	if (access(ret_path, F_OK) == 0)
		return 0;
	unlink(fresh);
	if (image_make_writable(fresh, WRITABLE_SIZE, f) < 0)
		return -1;
	return rename(fresh, ret_path) < 0 ? fail_errno(f, EXIT_USAGE, errno, "cannot make %s", ret_path) : 0;
}

static int add_disks(struct life *life, const char *writable, struct failure *f)
{
	_cleanup_free_ char *descriptor = NULL;
	const char *image = life->config.image_id;
	char vmdk[PATH_MAX], **files = NULL;
	int r = -1;

	if (image_disk(&life->home, image, vmdk, &files, f) == 0 &&
	    image_disk_descriptor(&life->home, image, VM_IMAGE_FDSET, &descriptor, f) == 0 &&
	    vm_add_image(&life->vm, descriptor, files, f) == 0 &&
	    vm_add_writable(&life->vm, writable, life->config.auto_remove, f) == 0) {
		life->layers = (unsigned)strv_length(files) - 1;
		r = 0;
	}
	strv_free(files);
	return r;
}

static int start_vm(struct life *life, struct failure *f)
{
	struct qemu_machine machine = {
		.memory = life->config.memory, .cpus = life->config.cpus ? life->config.cpus : 1, .parameters = "", .qmp = true,
		.box_id = life->config.id,
	};
	struct guest_bundle bundle = GUEST_BUNDLE_NULL;
	struct accel_verdict verdict;
	char qemu[4096], identity[64];
	int r;

	if (accel_decide(&life->home, &verdict, f) < 0 || qemu_find(qemu, identity, f) < 0 || guest_bundle_open(&bundle, f) < 0)
		return -1;
	life->accel = machine.accel = verdict.kind;
	r = vm_start(&life->vm, life->loop, &machine, &bundle, life_on_vm_event, f);
	guest_bundle_close(&bundle);
	return r;
}

static int start_vsock(struct life *life, struct failure *f)
{
	struct vsock_process *v = &life->vsock;

	life->agent_fd = io_unix_listen(life->agent_path, 0600);
	if (life->agent_fd < 0)
		return fail_errno(f, EXIT_USAGE, life->agent_fd, "cannot listen on %s", life->agent_path);
	v->loop = life->loop;
	v->handlers = &life_vsock_handlers;
	v->box_id = life->config.id;
	v->agent_fd = life->agent_fd;
	v->ports = &life->ports;
	v->limits = life->config.net_limits;
	v->tsi = life->config.network == BOX_NETWORK_TSI;
	v->host_gateway = guest_config_wants_host_gateway(&life->config);
	life->resolver.loop = life->loop;
	life->resolver.box_id = life->config.id;
	life->resolver.servers = life->config.dns;
	life->resolver.ready = life_on_resolver;
	return vsock_process_start(v, f);
}

static void note_start(struct life *life)
{
	struct box_state *s = &life->state;

	s->status = BOX_STARTING;
	s->monitor_pid = getpid();
	s->vm_pid = life->vm.process.pid;
	s->vsock_pid = life->vsock.process.pid;
	s->oom_killed = false;
	free(take_ptr(s->error));
	free(s->accelerator);
	s->accelerator = strdup(accel_name(life->accel));
}

static int open_log(struct life *life, struct failure *f)
{
	const struct box_config *c = &life->config;
	char path[PATH_MAX];
	int r = box_path(&life->home, c->id, "log.json", path);

	if (r == 0)
		r = log_file_open(&life->streams.log, path, c->log_max_size > 0 ? c->log_max_size : BOX_LOG_MAX_SIZE,
				  c->log_max_files ? c->log_max_files : BOX_LOG_MAX_FILES);
	return r < 0 ? fail_errno(f, EXIT_USAGE, r, "cannot open the box's log %s", path) : 0;
}

int life_begin(struct life *life, struct failure *f)
{
	char writable[PATH_MAX];

	if (check_size(life, f) < 0 || reserve_ports(life, f) < 0 || open_log(life, f) < 0)
		return -1;
	/* The VM waits for nobody while it starts; what follows is done beside it. */
	if (start_vm(life, f) < 0 || start_vsock(life, f) < 0 || make_disk(life, writable, f) < 0 ||
	    add_disks(life, writable, f) < 0)
		return -1;
	note_start(life);
	return box_write_state(&life->home, life->config.id, &life->state, f);
}
