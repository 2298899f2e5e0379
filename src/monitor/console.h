/* SPDX-License-Identifier: Apache-2.0 */
/* The last bytes of a guest's console, for the sentence that says why it did not come up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

#define CONSOLE_MAX 8192u

/**
 * struct console - a socket that QEMU writes the guest's serial line to
 * @data:	ring, zero where nothing was written yet
 * @at:		total bytes ever taken; the next one goes to at % CONSOLE_MAX
 */
struct console {
	struct loop_io io;
	int fd;
	size_t at;
	char data[CONSOLE_MAX];
};
#define CONSOLE_NULL { .io = LOOP_IO_NULL, .fd = -1 }

/* Takes fd, also on an error. loop NULL: nobody reads but console_read(). */
int console_open(struct console *console, struct loop *loop, int fd);
void console_close(struct console *console);
/* Take what there is: false at the end of the stream. */
bool console_read(struct console *console);
/* Take what is left after QEMU's end; bounded. */
void console_drain(struct console *console);
bool console_contains(const struct console *console, const char *text);
/* The last `lines` lines that say something, joined by " | ", control characters left out. */
void console_tail(const struct console *console, unsigned lines, char *ret, size_t size);
