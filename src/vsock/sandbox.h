/* SPDX-License-Identifier: Apache-2.0 */
/* What this process gives up before it reads the first byte of anybody's. */
#pragma once

/*
 * Should: no capabilities, no way to new ones, not dumpable, all fds that the host grants, and a filter that leaves what
 * this program needs: its fds, memory, and internet sockets that connect. Mustn't: open a path, start a program, make a
 * socket of another family, trace, load.
 * What is denied fails with EPERM. 0 or a negative errno.
 */
int sandbox_enter(void);
