/* SPDX-License-Identifier: Apache-2.0 */
/* a3s-box-vsock: the vsock device of one box, driven by its monitor (control.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "virtio/gmem.h"
#include "vsock/control.h"
#include "vsock/sandbox.h"
#include "vsock/service.h"

static struct service service = { .fd = -1 };

static int run(int control_fd)
{
	struct loop *loop;
	int r = loop_new(&loop);

	if (r < 0)
		return r;
	r = gmem_catch_sigbus();
	if (r == 0)
		r = service_init(&service, loop, control_fd);
	if (r == 0)
		r = sandbox_enter();
	if (r == 0)
		r = loop_run(loop);
	service_deinit(&service);
	loop_free(loop);
	return r;
}

int main(int argc, char **argv)
{
	int64_t fd;
	int r;

	if (argc != 3 || strcmp(argv[1], "--control-fd") != 0 || text_to_int(argv[2], 3, INT32_MAX, &fd) < 0) {
		fprintf(stderr, "usage: %s --control-fd N\n(started by a3s-box-monitor)\n", VSOCK_PROGRAM);
		return EXIT_USAGE;
	}
	log_open(VSOCK_PROGRAM);
	r = run((int)fd);
	if (r < 0)
		log_error("%s", strerror(-r));
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
