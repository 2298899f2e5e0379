/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: how the command line, the monitor and the guest's agent talk on their stream sockets.
 *
 *	u8 type | u8 zero[3] | le32 length | payload
 *
 * Which types a service takes, and the JSON in them, is written in include/a3s/agent.h (guest) and
 * src/monitor/control.h (monitor).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_type {
	FRAME_REQUEST = 1, /* JSON object with "op"; the first frame of a conversation */
	FRAME_REPLY = 2,   /* JSON object: "ok" true, or "error" text, "code" (exit code), "errno" */
	FRAME_STDIN = 3,   /* bytes for the process; empty: end of file */
	FRAME_STDOUT = 4,  /* bytes from the process; empty: end of file */
	FRAME_STDERR = 5,
	FRAME_RESIZE = 6,  /* le16 columns, le16 rows */
	FRAME_SIGNAL = 7,  /* le32 signal number for the process */
	FRAME_EXIT = 8,	   /* le32 status as a shell gives it: exit code, or 128 + signal; last frame */
	FRAME_DETACH = 9,  /* monitor only: attached client leaves, or is told to */
};

#define FRAME_HEADER 8u
#define FRAME_MAX (1u << 20) /* largest payload, bytes */
#define FRAME_DATA_MAX (64u << 10) /* what our writers put into one frame of data at most; readers take FRAME_MAX */

/* The payloads of FRAME_RESIZE and FRAME_SIGNAL. */
#define FRAME_NUMBERS 4u
void frame_pack_size(uint8_t out[static FRAME_NUMBERS], uint16_t columns, uint16_t rows);
void frame_pack_signal(uint8_t out[static FRAME_NUMBERS], uint32_t signal);
/* Blocking: write one frame. 0 or a negative errno. */
int frame_write(int fd, enum frame_type type, const void *payload, size_t size);
/* Blocking: read one; payload is NUL-terminated beyond its end, caller frees. -ENODATA at a clean end, -EBADMSG when malformed. */
int frame_read(int fd, enum frame_type *ret_type, char **ret_payload, size_t *ret_size);

/**
 * struct frame_buffer - bytes on their way from or to a non-blocking socket
 * Bounded by FRAME_MAX + FRAME_HEADER when reading; a writer asks frame_buffer_size() and stops its source when it is large.
 */
struct frame_buffer {
	uint8_t *data;
	size_t size, start, room;
};
void frame_buffer_deinit(struct frame_buffer *b);
int frame_buffer_add(struct frame_buffer *b, enum frame_type type, const void *payload, size_t size);
size_t frame_buffer_size(const struct frame_buffer *b);
/* Send what is possible: 0, -EAGAIN while something is left, or another negative errno. */
int frame_buffer_send(struct frame_buffer *b, int fd);
/* Receive what there is: bytes read > 0, 0 at the end, -EAGAIN, or another negative errno. */
int frame_buffer_receive(struct frame_buffer *b, int fd);
/* Next whole frame in the buffer: 1 and the frame (payload in place until the next call), 0 when there is none yet, -EBADMSG. */
int frame_buffer_next(struct frame_buffer *b, enum frame_type *ret_type, const uint8_t **ret_payload, size_t *ret_size);
