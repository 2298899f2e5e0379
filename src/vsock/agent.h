/* SPDX-License-Identifier: Apache-2.0 */
/* The way in to the guest's agent: clients of agent.sock (include/a3s/agent.h). */
#pragma once

struct device;

/* Serve a listening AF_UNIX stream socket in place of an earlier one; takes fd. 0 or a negative errno. */
int agent_listen(struct device *d, int fd);
void agent_clear(struct device *d);
