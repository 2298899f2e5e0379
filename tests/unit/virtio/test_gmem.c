/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/own.h"
#include "virtio/gmem.h"

#define PAGE 4096u

static int make_file(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void test_lookup(void **state)
{
	_cleanup_close_ int fd = make_file(16 * PAGE);
	struct gmem m = GMEM_NULL;
	/* Two neighbours in guest-physical space, apart in the file and in the front end. */
	const struct gmem_share shares[] = {
		{ .gpa = 0x10000, .user = 0x900000, .size = 2 * PAGE, .offset = 0, .fd = fd },
		{ .gpa = 0x10000 + 2 * PAGE, .user = 0x100000, .size = PAGE, .offset = 5 * PAGE + 16, .fd = fd },
	};
	uint64_t got;
	uint8_t *p;

	assert_int_equal(gmem_set(&m, shares, 2), 0);
	assert_non_null(gmem_at(&m, 0x10000, 2 * PAGE));
	assert_null(gmem_at(&m, 0x10000, 2 * PAGE + 1)); /* neighbours, but not one stretch */
	assert_null(gmem_at(&m, 0x10000, 0));
	assert_null(gmem_at(&m, 0xffff, 1));
	assert_non_null(gmem_at(&m, 0x10000 + 3 * PAGE - 1, 1));
	assert_null(gmem_at(&m, 0x10000 + 3 * PAGE, 1));
	assert_null(gmem_at(&m, 0x10000 + 3 * PAGE - 1, 2));
	assert_null(gmem_at(&m, 0x10000, UINT64_MAX));
	assert_null(gmem_at(&m, UINT64_MAX, 1));
	assert_null(gmem_at(&m, UINT64_MAX, UINT64_MAX));

	p = gmem_part(&m, 0x10000 + 2 * PAGE - 10, 100, &got);
	assert_non_null(p);
	assert_int_equal(got, 10);
	memcpy(p, "0123456789", 10); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	p = gmem_part(&m, 0x10000 + 2 * PAGE, 90, &got);
	assert_int_equal(got, 90);
	*p = 'x';
	{
		uint8_t back[11];

		assert_int_equal(pread(fd, back, 10, 2 * PAGE - 10), 10);
		assert_memory_equal(back, "0123456789", 10);
		assert_int_equal(pread(fd, back, 1, 5 * PAGE + 16), 1);
		assert_int_equal(back[0], 'x');
	}
	assert_ptr_equal(gmem_at_user(&m, 0x100000, PAGE), gmem_at(&m, 0x10000 + 2 * PAGE, PAGE));
	assert_null(gmem_at_user(&m, 0x100000, PAGE + 1));
	assert_null(gmem_at_user(&m, 0x100000, 0));
	assert_null(gmem_at_user(&m, 0x0fffff, 2));
	assert_null(gmem_at_user(&m, 0x100001, UINT64_MAX));
	gmem_deinit(&m);
	assert_null(gmem_at(&m, 0x10000, 1));
	gmem_deinit(&m);
}

static void test_refused_shares(void **state)
{
	_cleanup_close_ int fd = make_file(4 * PAGE);
	int pipes[2];
	struct gmem m = GMEM_NULL;
	const struct gmem_share good = { .gpa = PAGE, .user = PAGE, .size = PAGE, .fd = fd };
	struct gmem_share bad[GMEM_REGIONS_MAX + 1];

	assert_int_equal(pipe(pipes), 0);
	{
		const struct gmem_share each[] = {
			{ .gpa = 0, .user = 0, .size = 0, .fd = fd },
			{ .gpa = UINT64_MAX - 10, .user = 0, .size = PAGE, .fd = fd },
			{ .gpa = 0, .user = UINT64_MAX - 10, .size = PAGE, .fd = fd },
			{ .gpa = 0, .user = 0, .size = 5 * PAGE, .fd = fd },
			{ .gpa = 0, .user = 0, .size = PAGE, .offset = 3 * PAGE + 1, .fd = fd },
			{ .gpa = 0, .user = 0, .size = PAGE, .offset = UINT64_MAX, .fd = fd },
			{ .gpa = 0, .user = 0, .size = UINT64_MAX, .offset = 1, .fd = fd },
			{ .gpa = 0, .user = 0, .size = PAGE, .fd = pipes[0] },
			{ .gpa = 0, .user = 0, .size = PAGE, .fd = -1 },
		};

		for (unsigned i = 0; i < ARRAY_SIZE(each); i++)
			assert_true(gmem_set(&m, &each[i], 1) < 0);
	}
	assert_int_equal(gmem_set(&m, &good, 1), 0);
	/* Overlap in either space, too many: refused, and the old regions stay. */
	bad[0] = bad[1] = good;
	bad[1].gpa += PAGE - 1;
	bad[1].user += PAGE;
	assert_int_equal(gmem_set(&m, bad, 2), -EINVAL);
	bad[1].gpa = 10 * PAGE;
	bad[1].user = 1;
	assert_int_equal(gmem_set(&m, bad, 2), -EINVAL);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = (struct gmem_share){ .gpa = i * PAGE, .user = i * PAGE, .size = PAGE, .fd = fd };
	assert_int_equal(gmem_set(&m, bad, GMEM_REGIONS_MAX + 1), -EINVAL);
	assert_non_null(gmem_at(&m, PAGE, PAGE));
	assert_null(gmem_at(&m, 0, 1));
	assert_int_equal(gmem_set(&m, bad, GMEM_REGIONS_MAX), 0);
	assert_non_null(gmem_at(&m, 0, PAGE));
	gmem_deinit(&m);
	close(pipes[0]);
	close(pipes[1]);
}

/* S02: the front end truncates its memory under us: that gmem is marked, others keep their bytes, the process lives. */
static void test_truncated_memory(void **state)
{
	_cleanup_close_ int fd = make_file(4 * PAGE);
	_cleanup_close_ int other_fd = make_file(PAGE);
	const struct gmem_share share = { .gpa = 0, .user = 0, .size = 4 * PAGE, .fd = fd };
	const struct gmem_share other_share = { .gpa = 0, .user = 0, .size = PAGE, .fd = other_fd };
	struct gmem m = GMEM_NULL, other = GMEM_NULL;
	volatile uint8_t *p;

	assert_int_equal(gmem_catch_sigbus(), 0);
	assert_int_equal(gmem_set(&m, &share, 1), 0);
	assert_int_equal(gmem_set(&other, &other_share, 1), 0);
	p = gmem_at(&m, 2 * PAGE, 1);
	*p = 7;
	*(uint8_t *)gmem_at(&other, 0, 1) = 9;
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(*p, 0);
	assert_true(m.lost);
	assert_false(other.lost);
	assert_int_equal(*(uint8_t *)gmem_at(&other, 0, 1), 9);
	*p = 1; /* nobody's */
	gmem_deinit(&m);
	assert_false(m.lost);
	gmem_deinit(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_refused_shares),
		cmocka_unit_test(test_truncated_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
