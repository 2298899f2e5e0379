/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host may send to the guest's agent before the box is configured, so nothing is run or mounted. First byte: the
 * port; then records of a length byte and so many bytes, each sent as one piece.
 */
#include <sys/socket.h>

#include "base/own.h"
#include "guest/agent.h"
#include "input.h"

static const enum agent_port ports[] = { AGENT_PORT_CONTROL, AGENT_PORT_EXEC, AGENT_PORT_TERMINAL, AGENT_PORT_ATTESTATION };

/* Turn the loop until everything sent was looked at; what comes back is read and forgotten. */
static void settle(struct agent *agent, int fd)
{
	char data[4096];

	do
		(void)loop_turn(agent->loop, 0);
	while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0);
}

static void converse(struct agent *agent, int fd, struct fuzz_input *in)
{
	while (in->size > 1) {
		size_t n = MIN(*in->data, in->size - 1);

		if (send(fd, in->data + 1, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		in->data += n + 1;
		in->size -= n + 1;
		settle(agent, fd);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct agent agent;
	struct loop *loop;
	uint8_t port = 0;
	int pair[2];

	if (loop_new(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	agent_init(&agent, loop, false);
	agent.processes.isolate = true; /* so it insists on a configured box */
	fuzz_take(&in, &port, 1);
	if (conversation_open(&agent, ports[port % ARRAY_SIZE(ports)], pair[1]) < 0)
		abort();
	converse(&agent, pair[0], &in);
	close_fd(pair[0]);
	settle(&agent, -1);
	fuzz_check(agent.n_conversations == 0);
	fuzz_check(!agent.processes.list);
	agent_deinit(&agent);
	loop_free(loop);
	return 0;
}
