/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: the regions that a vhost-user front end shares (SET_MEM_TABLE), and the only way from an address that a
 * guest wrote to a pointer. Nothing returned here ever reaches outside of a region.
 *
 * Everything in there changes under our hands: copy once, check the copy, use the copy.
 *
 * Memory that goes away while it is in use (the front end truncates the file that it shared; case S02): the first touch
 * raises SIGBUS. The handler of gmem_catch_sigbus() puts private zero pages where the region was and sets `lost`; the
 * owner of this gmem sees it after the callback and ends this one connection, other guests of the process go on. A SIGBUS
 * elsewhere kills the process as ever. System calls given such a pointer fail with EFAULT instead: the same thing to us.
 *
 * A gmem belongs to one loop and thread. Its address must not change between gmem_set() and gmem_deinit().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GMEM_REGIONS_MAX 8u /* what SET_MEM_TABLE can carry */

/**
 * struct gmem_region - one stretch of guest memory
 * @gpa:	guest-physical address of its first byte
 * @user:	address of the same byte in the front end's process (ring addresses are given in these)
 * @size:	bytes; neither gpa + size nor user + size wraps
 * @host:	the same byte here
 * @map, @map_size: what was mapped, aligned to the file's pages
 */
struct gmem_region {
	uint64_t gpa, user, size;
	uint8_t *host;
	void *map;
	size_t map_size;
};

struct gmem {
	struct gmem_region region[GMEM_REGIONS_MAX];
	unsigned n_regions;
	unsigned recent; /* region of the last hit; looked at first */
	volatile bool lost; /* set by the SIGBUS handler */
	struct gmem *next; /* all that are mapped, for the handler */
};

/**
 * struct gmem_share - a region as the front end announces it
 * @offset:	of its first byte in the file
 * @fd:		borrowed; a regular file (memfd, hugetlbfs, tmpfs), at least offset + size long
 */
struct gmem_share {
	uint64_t gpa, user, size, offset;
	int fd;
};

#define GMEM_NULL { .n_regions = 0 }

/*
 * Replace all regions. Pointers made before are dangling afterwards. 0, or -EINVAL (too many, overlapping, wrapping,
 * empty, not a regular file, file too short) or mmap's errno; the old regions stay then.
 */
int gmem_set(struct gmem *m, const struct gmem_share *shares, unsigned n);
void gmem_deinit(struct gmem *m);

/* `size` bytes at a guest-physical address, whole inside one region; else NULL. Size 0: NULL. */
void *gmem_at(struct gmem *m, uint64_t gpa, uint64_t size);
/* The same for an address of the front end's. */
void *gmem_at_user(struct gmem *m, uint64_t user, uint64_t size);
/* As gmem_at(), but a buffer may go on in a neighbouring region: ret_size (<= size) is what lies in this one. */
void *gmem_part(struct gmem *m, uint64_t gpa, uint64_t size, uint64_t *ret_size);

/* Install the handler, once in a program. 0 or a negative errno. Under seccomp it needs mmap and rt_sigreturn. */
int gmem_catch_sigbus(void);
