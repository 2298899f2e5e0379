/* SPDX-License-Identifier: Apache-2.0 */
/* The small PID 1 that "init" puts into the box (docker run --init). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/**
 * Run as PID 1 of the box: forward every signal to `child`, reap whatever ends, and end as the child ended (128 + signal
 * where a signal ended it). Signals must have been blocked before the child was made. Does not return.
 */
void reaper_run(pid_t child) __attribute__((noreturn));
