/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapping and looking up guest memory.
 *
 * The list of all mapped gmems exists for the SIGBUS handler alone. The signal is synchronous: it comes only from an
 * instruction that touches guest memory, never while this file changes the list, so the handler always finds it whole.
 * mmap() is not on POSIX's list of functions for signal handlers; on Linux it is one system call and touches no state of libc.
 */
#include "virtio/gmem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct gmem *all;

static void list_add(struct gmem *m)
{
	m->next = all;
	all = m;
}

static void list_remove(struct gmem *m)
{
	for (struct gmem **at = &all; *at; at = &(*at)->next) {
		if (*at != m)
			continue;
		*at = m->next;
		break;
	}
	m->next = NULL;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

static int check_shares(const struct gmem_share *shares, unsigned n)
{
	if (n > GMEM_REGIONS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		const struct gmem_share *s = &shares[i];

		if (s->size == 0 || s->gpa + s->size < s->gpa || s->user + s->size < s->user)
			return -EINVAL;
		for (unsigned k = 0; k < i; k++)
			if (overlap(s->gpa, s->size, shares[k].gpa, shares[k].size) ||
			    overlap(s->user, s->size, shares[k].user, shares[k].size))
				return -EINVAL;
	}
	return 0;
}

/* Mappings of hugetlbfs want offset and size in units of its pages, which st_blksize tells; elsewhere it does no harm. */
static uint64_t file_alignment(const struct stat *st)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), block = (uint64_t)st->st_blksize;

	return block > page && (block & (block - 1)) == 0 ? block : page;
}

static int map_share(const struct gmem_share *s, struct gmem_region *ret)
{
	struct stat st;
	uint64_t align, start, size;
	void *map;

	if (fstat(s->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || s->offset > (uint64_t)st.st_size || s->size > (uint64_t)st.st_size - s->offset)
		return -EINVAL;
	align = file_alignment(&st);
	start = s->offset & ~(align - 1);
	size = (s->offset - start + s->size + align - 1) & ~(align - 1);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, s->fd, (off_t)start);
	if (map == MAP_FAILED)
		return -errno;
	(void)madvise(map, size, MADV_DONTDUMP); /* a core of ours shall not carry the guest's secrets */
	*ret = (struct gmem_region){
		.gpa = s->gpa,
		.user = s->user,
		.size = s->size,
		.host = (uint8_t *)map + (s->offset - start),
		.map = map,
		.map_size = size,
	};
	return 0;
}

static void unmap_regions(struct gmem_region *regions, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		munmap(regions[i].map, regions[i].map_size);
}

int gmem_set(struct gmem *m, const struct gmem_share *shares, unsigned n)
{
	struct gmem_region regions[GMEM_REGIONS_MAX];
	int r = check_shares(shares, n);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < n; i++) {
		r = map_share(&shares[i], &regions[i]);
		if (r < 0) {
			unmap_regions(regions, i);
			return r;
		}
	}
	gmem_deinit(m);
	if (n == 0)
		return 0;
	memcpy(m->region, regions, n * sizeof(regions[0]));
	m->n_regions = n;
	list_add(m);
	return 0;
}

void gmem_deinit(struct gmem *m)
{
	if (m->n_regions > 0)
		list_remove(m);
	unmap_regions(m->region, m->n_regions);
	m->n_regions = 0;
	m->recent = 0;
	m->lost = false;
}

void *gmem_part(struct gmem *m, uint64_t gpa, uint64_t size, uint64_t *ret_size)
{
	unsigned i = m->recent;

	for (unsigned tries = 0; tries < m->n_regions; tries++) {
		const struct gmem_region *region = &m->region[i];

		if (gpa >= region->gpa && gpa - region->gpa < region->size) {
			uint64_t left = region->size - (gpa - region->gpa);

			if (size == 0)
				return NULL;
			m->recent = i;
			*ret_size = size < left ? size : left;
			return region->host + (gpa - region->gpa);
		}
		i = i + 1 < m->n_regions ? i + 1 : 0;
	}
	return NULL;
}

void *gmem_at(struct gmem *m, uint64_t gpa, uint64_t size)
{
	uint64_t got;
	void *p = gmem_part(m, gpa, size, &got);

	return p && got == size ? p : NULL;
}

void *gmem_at_user(struct gmem *m, uint64_t user, uint64_t size)
{
	for (unsigned i = 0; i < m->n_regions; i++) {
		const struct gmem_region *region = &m->region[i];

		if (user < region->user || user - region->user >= region->size)
			continue;
		if (size == 0 || size > region->size - (user - region->user))
			return NULL;
		return region->host + (user - region->user);
	}
	return NULL;
}

/* Put zero pages of our own in the place of the region that holds `address`. */
static bool replace_lost(uintptr_t address)
{
	for (struct gmem *m = all; m; m = m->next) {
		for (unsigned i = 0; i < m->n_regions; i++) {
			const struct gmem_region *region = &m->region[i];

			if (address - (uintptr_t)region->map >= region->map_size)
				continue;
			if (mmap(region->map, region->map_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
				return false;
			m->lost = true;
			return true;
		}
	}
	return false;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;

	if (info->si_code <= 0 || !replace_lost((uintptr_t)info->si_addr)) {
		/* Not ours. Returning repeats the instruction, or the raise below delivers, with the default action. */
		signal(SIGBUS, SIG_DFL);
		if (info->si_code <= 0)
			raise(SIGBUS);
	}
	errno = saved;
}

int gmem_catch_sigbus(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}
