/* SPDX-License-Identifier: Apache-2.0 */
/* The program as its monitor sees it: requests, answers, events, fds, its end; in its sandbox. argv[1]: the program. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "base/proc.h"
#include "ring_driver.h"
#include "unit.h"
#include "vsock/control.h"
#include "vsock/device.h"

static const char *program;

struct child {
	pid_t pid;
	int pidfd, control;
};

static void child_start(struct child *c)
{
	const char *argv[] = { program, "--control-fd", "3", NULL };
	struct proc_spec spec = PROC_SPEC_NULL;
	struct proc_fd fd = { .child = 3 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fd.parent = pair[1];
	spec.argv = argv;
	spec.fds = &fd;
	spec.n_fds = 1;
	spec.stderr_fd = 2;
	spec.die_with_parent = true;
	assert_int_equal(proc_spawn(&spec, &c->pid, &c->pidfd), 0);
	close(pair[1]);
	c->control = pair[0];
}

static void child_end(struct child *c)
{
	int status;

	close(c->control);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(c->pidfd);
}

static json_t *receive(struct child *c)
{
	char text[VSOCK_CONTROL_MAX];
	struct pollfd p = { .fd = c->control, .events = POLLIN };
	size_t n_fds = 0;
	ssize_t n;

	assert_int_equal(poll(&p, 1, 2000), 1);
	n = io_recv_fds(c->control, text, sizeof(text), NULL, &n_fds);
	assert_true(n > 0);
	return json_loadb(text, (size_t)n, 0, NULL);
}

/* Send a request; fd -1: none. Whether it was answered ok. Events are passed over. */
static bool ask(struct child *c, const char *request, int fd)
{
	assert_int_equal(io_send_fds(c->control, request, strlen(request), &fd, fd >= 0), strlen(request));
	for (;;) {
		_cleanup_json_ json_t *answer = receive(c);

		assert_non_null(answer);
		if (json_object_get(answer, "ok"))
			return json_flag(answer, "ok", false);
	}
}

static void expect_event(struct child *c, const char *event)
{
	_cleanup_json_ json_t *message = receive(c);

	assert_string_equal(json_str(message, "event", ""), event);
}

static void requests_are_checked(void **state)
{
	struct child c;

	child_start(&c);
	assert_true(ask(&c, "{\"op\":\"ping\"}", -1));
	assert_false(ask(&c, "{\"op\":\"stats\"}", -1));
	assert_false(ask(&c, "{\"op\":\"configure\",\"network\":\"bridge\"}", -1));
	assert_true(ask(&c, "{\"op\":\"configure\",\"network\":\"tsi\",\"limits\":{\"connections\":100}}", -1));
	assert_false(ask(&c, "{\"op\":\"configure\",\"network\":\"tsi\"}", -1));
	assert_false(ask(&c, "{\"op\":\"device\"}", -1));
	assert_false(ask(&c, "{\"op\":\"dance\"}", -1));
	assert_false(ask(&c, "not json", -1));
	assert_false(ask(&c, "{\"op\":\"unpublish\",\"protocol\":\"tcp\",\"address\":\"127.0.0.1\",\"port\":1}", -1));
	assert_true(ask(&c, "{\"op\":\"stats\"}", -1));
	child_end(&c);
}

static void wait_used(struct driver_ring *ring, uint8_t **ret_buffer)
{
	*ret_buffer = driver_ring_wait(ring, NULL, 2000);
	assert_non_null(*ret_buffer);
}

/* An agent client through the program, and the program through a change of device. */
static void agent_and_device(void **state)
{
	struct ring_driver_spec spec = { .features = 1ull << VIRTIO_RING_F_EVENT_IDX, .n_queues = DEVICE_QUEUES };
	struct ring_driver driver;
	struct sockaddr_storage name = { .ss_family = AF_UNIX };
	socklen_t size = sizeof(name);
	int pair[2], agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct packet p;
	struct child c;
	uint8_t *buffer;
	char line[64] = "";

	assert_int_equal(bind(agent, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(agent, 4), 0);
	assert_int_equal(getsockname(agent, (struct sockaddr *)&name, &size), 0);
	child_start(&c);
	assert_true(ask(&c, "{\"op\":\"configure\",\"network\":\"none\"}", -1));
	assert_true(ask(&c, "{\"op\":\"agent\"}", agent));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_true(ask(&c, "{\"op\":\"device\"}", pair[0]));
		close(pair[0]);
		assert_int_equal(ring_driver_connect(&driver, pair[1], &spec), 0);
		expect_event(&c, "device-started");
		if (round == 1)
			break;
		ring_driver_disconnect(&driver);
		expect_event(&c, "device-gone");
	}
	assert_int_equal(connect(client, (struct sockaddr *)&name, size), 0);
	assert_int_equal(write(client, "CONNECT 4089\n", 13), 13);
	buffer = driver_ram_alloc(&driver.ram, 4096, 64);
	assert_int_equal(driver_ring_put(&driver.ring[DEVICE_QUEUE_RX], NULL, 0, buffer, 4096, buffer), 0);
	driver_ring_kick(&driver.ring[DEVICE_QUEUE_RX]);
	wait_used(&driver.ring[DEVICE_QUEUE_RX], &buffer);
	packet_decode(&p, buffer);
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.dst_port, 4089);
	p = (struct packet){ .src_cid = VSOCK_GUEST_CID, .dst_cid = PACKET_HOST_CID, .src_port = p.dst_port, .dst_port = p.src_port,
			     .type = p.type, .op = VIRTIO_VSOCK_OP_RESPONSE, .buf_alloc = 65536 };
	packet_encode(&p, buffer);
	assert_int_equal(driver_ring_put(&driver.ring[DEVICE_QUEUE_TX], buffer, PACKET_HEADER, NULL, 0, buffer), 0);
	driver_ring_kick(&driver.ring[DEVICE_QUEUE_TX]);
	wait_used(&driver.ring[DEVICE_QUEUE_TX], &buffer);
	assert_true(read(client, line, sizeof(line) - 1) > 0);
	assert_int_equal(strncmp(line, "OK ", 3), 0);
	close(client);
	child_end(&c);
	ring_driver_disconnect(&driver);
	close(agent);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_checked),
		cmocka_unit_test(agent_and_device),
	};

	program = argc > 1 ? argv[1] : "";
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* of the program's: the leak checker wants a process of its own */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
