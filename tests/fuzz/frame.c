/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as they arrive from a socket in pieces. First byte: how large the pieces are. */
#include <errno.h>
#include <sys/socket.h>

#include "base/frame.h"
#include "base/own.h"
#include "fuzz.h"

static int take_all(struct frame_buffer *b)
{
	const uint8_t *payload;
	enum frame_type type;
	size_t size;
	int r;

	while ((r = frame_buffer_next(b, &type, &payload, &size)) > 0) {
		if (size && payload[size - 1] == 0xff && payload[0] == 0xff)
			continue; /* touch both ends */
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_buffer b = { 0 };
	size_t piece = size ? data[0] + 1u : 1, at = 1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	while (at < size) {
		size_t n = MIN(piece, size - at);

		if (send(pair[0], data + at, n, MSG_NOSIGNAL) != (ssize_t)n || frame_buffer_receive(&b, pair[1]) <= 0 ||
		    take_all(&b) < 0)
			break;
		at += n;
	}
	frame_buffer_deinit(&b);
	close_fd(pair[0]);
	close_fd(pair[1]);
	return 0;
}
