/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to the monitor of a running box: see monitor/control.h for the words. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "store/box.h"

/* Connected control socket, or -1: "box X is not running" (code 1), or its monitor does not answer. */
int monitor_connect(const struct home *home, const char *id, struct failure *f);
/* Send the request (taken) and wait for its reply. *ret_reply may be NULL. -1 and the monitor's sentence when it refused. */
int monitor_request(int fd, json_t *request, json_t **ret_reply, struct failure *f);
/* Connect, ask, and give back what matters; the request is taken. */
int monitor_ask(const struct home *home, const char *id, json_t *request, json_t **ret_reply, struct failure *f);
/* Kill the box at once and wait until its monitor let go of it. A box that does not run is fine. */
int monitor_kill(const struct home *home, const char *id, struct failure *f);
/* Ask it to end, wait `timeout` seconds (-1: for ever), kill; return when its monitor let go of it. */
int monitor_stop(const struct home *home, const char *id, int signal, int timeout, struct failure *f);
/* Connected to a service of the guest's agent (enum agent_port), or -1 and a sentence. */
int agent_connect(const struct home *home, const char *id, unsigned port, struct failure *f);
