/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest uses, read from /proc: figures for `stats`, lines for `top`. */
#pragma once

#include <jansson.h>

/* {"ok":true,"cpu_ns":...}, as include/a3s/agent.h says. pid_ns: the box's PID namespace, -1 when nothing runs. Caller frees. */
json_t *metrics_read(int pid_ns);
/* {"ok":true,"titles":[...],"processes":[[...],...]}: the box's processes, as `ps -ef` shows them inside. Caller frees. */
json_t *metrics_processes(int pid_ns);
