/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership in the signature: locals that free themselves, and explicit transfer.
 *
 * An empty fd is -1, an empty pointer NULL. Parameters are borrowed unless the header says "takes".
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void own_free(void *p)
{
	free(*(void **)p);
}

static inline void own_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void own_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(own_free)
#define _cleanup_close_ _cleanup_(own_close)
#define _cleanup_fclose_ _cleanup_(own_fclose)

/* Move the fd out of *fd, leaving -1 behind. */
static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* Close and forget; returns -1 so that `x = close_fd(x)` leaves an empty one. */
static inline int close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Move the pointer out of p, leaving NULL behind. */
#define take_ptr(p)                     \
	({                              \
		typeof(p) *_pp = &(p);  \
		typeof(p) _v = *_pp;    \
		*_pp = NULL;            \
		_v;                     \
	})

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
