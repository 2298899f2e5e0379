/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals of the box's own devpts, so that ttyname(3) works inside. */
#pragma once

#include <stdint.h>

/**
 * struct terminal - both ends, close-on-exec
 * @name:	"/dev/pts/0", of the slave
 */
struct terminal {
	int master, slave;
	char name[32];
};
#define TERMINAL_NULL { .master = -1, .slave = -1 }

/* Open a new pair through /dev/ptmx of the present root. 0 or a negative errno. */
int terminal_open(struct terminal *ret);
/* Nothing happens when both are 0. 0 or a negative errno. */
int terminal_resize(int fd, uint16_t columns, uint16_t rows);
