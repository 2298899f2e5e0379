/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's machine protocol on a socket that QEMU was given as an fd.
 *
 * Commands go out strictly one at a time: QEMU keeps only the fds of the last message that carried some, so a second
 * command sent ahead of the first one's reply could lose its fd. From the loop's thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/loop.h"

struct qmp;
struct qmp_command;
/* error: QEMU's own sentence, NULL on success. result is borrowed. */
typedef void (*qmp_reply_fn)(struct qmp *qmp, const char *command, const json_t *result, const char *error);

/**
 * struct qmp - one connection
 * @event:	an asynchronous event of QEMU's
 * @closed:	QEMU hung up, or sent what is no JSON; commands that wait are forgotten
 */
struct qmp {
	struct loop_io io;
	int fd;
	char *in;
	size_t in_size;
	struct qmp_command *first, *last;
	bool sent;
	void (*event)(struct qmp *qmp, const char *name, const json_t *data);
	void (*closed)(struct qmp *qmp);
};
#define QMP_NULL { .io = LOOP_IO_NULL, .fd = -1 }

/* Takes fd, in case of an error too. The capabilities are negotiated by itself. */
int qmp_open(struct qmp *qmp, struct loop *loop, int fd);
void qmp_close(struct qmp *qmp);
/* Queue a command. Takes arguments (may be NULL) and fd (-1: none). fn may be NULL. 0 or -ENOMEM, -ENOTCONN. */
int qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, int fd, qmp_reply_fn fn);
