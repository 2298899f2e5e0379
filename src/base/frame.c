/* SPDX-License-Identifier: Apache-2.0 */
#include "base/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/wire.h"

#define RECEIVE_STEP (64u << 10)

static void frame_header(uint8_t out[static FRAME_HEADER], enum frame_type type, uint32_t length)
{
	struct wire w = wire_writer(out, FRAME_HEADER);

	wire_put_u8(&w, (uint8_t)type);
	wire_put(&w, "\0\0\0", 3);
	wire_put_le32(&w, length);
}

static int parse_header(const uint8_t *in, enum frame_type *ret_type, uint32_t *ret_length)
{
	struct wire w = wire_reader(in, FRAME_HEADER);
	uint8_t type = wire_u8(&w);

	(void)wire_take(&w, 3);
	*ret_length = wire_le32(&w);
	if (type < FRAME_REQUEST || type > FRAME_DETACH || *ret_length > FRAME_MAX)
		return -EBADMSG;
	*ret_type = (enum frame_type)type;
	return 0;
}

void frame_pack_size(uint8_t out[static FRAME_NUMBERS], uint16_t columns, uint16_t rows)
{
	struct wire w = wire_writer(out, FRAME_NUMBERS);

	wire_put_le16(&w, columns);
	wire_put_le16(&w, rows);
}

void frame_pack_signal(uint8_t out[static FRAME_NUMBERS], uint32_t signal)
{
	struct wire w = wire_writer(out, FRAME_NUMBERS);

	wire_put_le32(&w, signal);
}

int frame_write(int fd, enum frame_type type, const void *payload, size_t size)
{
	uint8_t header[FRAME_HEADER];
	int r;

	if (size > FRAME_MAX)
		return -EMSGSIZE;
	frame_header(header, type, (uint32_t)size);
	r = io_write_full(fd, header, sizeof(header));
	if (r == 0 && size)
		r = io_write_full(fd, payload, size);
	return r;
}

int frame_read(int fd, enum frame_type *ret_type, char **ret_payload, size_t *ret_size)
{
	_cleanup_free_ char *payload = NULL;
	uint8_t header[FRAME_HEADER];
	uint32_t length;
	int r;

	r = io_read_full(fd, header, sizeof(header));
	if (r == 0)
		r = parse_header(header, ret_type, &length);
	if (r < 0)
		return r;
	payload = malloc((size_t)length + 1);
	if (!payload)
		return -ENOMEM;
	r = io_read_full(fd, payload, length);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	payload[length] = '\0';
	*ret_size = length;
	*ret_payload = take_ptr(payload);
	return 0;
}

void frame_buffer_deinit(struct frame_buffer *b)
{
	free(b->data);
	*b = (struct frame_buffer){ 0 };
}

size_t frame_buffer_size(const struct frame_buffer *b)
{
	return b->size - b->start;
}

static int make_room(struct frame_buffer *b, size_t n)
{
	size_t room = b->room ? b->room : 4096;
	uint8_t *data;

	if (b->start == b->size)
		b->start = b->size = 0;
	if (b->room - b->size >= n)
		return 0;
	if (b->start) {
		memmove(b->data, b->data + b->start, b->size - b->start);
		b->size -= b->start;
		b->start = 0;
	}
	while (room - b->size < n)
		room *= 2;
	if (room == b->room)
		return 0;
	data = realloc(b->data, room);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->room = room;
	return 0;
}

int frame_buffer_add(struct frame_buffer *b, enum frame_type type, const void *payload, size_t size)
{
	int r;

	if (size > FRAME_MAX)
		return -EMSGSIZE;
	r = make_room(b, FRAME_HEADER + size);
	if (r < 0)
		return r;
	frame_header(b->data + b->size, type, (uint32_t)size);
	if (size)
		memcpy(b->data + b->size + FRAME_HEADER, payload, size);
	b->size += FRAME_HEADER + size;
	return 0;
}

int frame_buffer_send(struct frame_buffer *b, int fd)
{
	while (b->start < b->size) {
		ssize_t n = send(fd, b->data + b->start, b->size - b->start, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b->start += (size_t)n;
	}
	b->start = b->size = 0;
	if (b->room > 4 * RECEIVE_STEP) /* a burst is over: give its memory back */
		frame_buffer_deinit(b);
	return 0;
}

int frame_buffer_receive(struct frame_buffer *b, int fd)
{
	ssize_t n;
	int r = make_room(b, RECEIVE_STEP);

	if (r < 0)
		return r;
	do {
		n = recv(fd, b->data + b->size, b->room - b->size, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	b->size += (size_t)n;
	return (int)n;
}

int frame_buffer_next(struct frame_buffer *b, enum frame_type *ret_type, const uint8_t **ret_payload, size_t *ret_size)
{
	uint32_t length;
	int r;

	if (b->size - b->start < FRAME_HEADER)
		return 0;
	r = parse_header(b->data + b->start, ret_type, &length);
	if (r < 0)
		return r;
	if (b->size - b->start - FRAME_HEADER < length)
		return 0;
	*ret_payload = b->data + b->start + FRAME_HEADER;
	*ret_size = length;
	b->start += FRAME_HEADER + length;
	return 1;
}
