/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that measures how long things take; what runs in a loop asks loop_now_ms(), what a person reads comes from text_now_ns(). */
#pragma once

#include <stdint.h>
#include <time.h>

static inline int64_t clock_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
