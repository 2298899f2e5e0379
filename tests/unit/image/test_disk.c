/* SPDX-License-Identifier: Apache-2.0 */
/* The partition table by the letter of UEFI 2.10, chapter 5, read back with a second implementation of its checksum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "base/wire.h"
#include "image/disk.h"

#include <cmocka.h> /* last: its fail() is a macro */

static const uint8_t guid[16] = "0123456789abcde";

static uint32_t crc_by_table(const uint8_t *data, size_t size)
{
	uint32_t table[256], crc = 0xffffffffu;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] & 1 ? 0xedb88320u ^ (table[i] >> 1) : table[i] >> 1;
	}
	while (size-- > 0)
		crc = table[(crc ^ *data++) & 0xff] ^ (crc >> 8);
	return ~crc;
}

/* Checks a header and returns the LBA of its entries. */
static uint64_t check_header(const uint8_t *sector, uint64_t here, uint64_t other, uint64_t last_usable, const uint8_t *entries)
{
	struct wire w = wire_reader(sector, DISK_SECTOR);
	uint8_t copy[92];
	uint32_t crc;
	uint64_t entries_lba;

	assert_memory_equal(wire_take(&w, 8), "EFI PART", 8);
	assert_int_equal(wire_le32(&w), 0x10000);
	assert_int_equal(wire_le32(&w), 92);
	crc = wire_le32(&w);
	assert_int_equal(wire_le32(&w), 0);
	assert_int_equal(wire_le64(&w), here);
	assert_int_equal(wire_le64(&w), other);
	assert_int_equal(wire_le64(&w), 34);
	assert_int_equal(wire_le64(&w), last_usable);
	assert_memory_equal(wire_take(&w, 16), guid, 16);
	entries_lba = wire_le64(&w);
	assert_int_equal(wire_le32(&w), 128);
	assert_int_equal(wire_le32(&w), 128);
	assert_int_equal(wire_le32(&w), crc_by_table(entries, 128 * 128));
	memcpy(copy, sector, sizeof(copy));
	memset(copy + 16, 0, 4);
	assert_int_equal(crc, crc_by_table(copy, sizeof(copy)));
	return entries_lba;
}

static void check_table(const uint64_t *sectors, size_t n)
{
	static uint8_t table[DISK_TABLE_BYTES];
	const uint8_t *entries = table + 1024, *backup = table + DISK_TABLE_SECTORS * DISK_SECTOR;
	uint64_t end = DISK_TABLE_SECTORS, lba = DISK_TABLE_SECTORS;

	for (size_t i = 0; i < n; i++)
		end += sectors[i];
	disk_make_table(sectors, n, guid, table);
	assert_int_equal(table[510], 0x55);
	assert_int_equal(table[511], 0xaa);
	assert_int_equal(table[446 + 4], 0xee);
	assert_int_equal(check_header(table + 512, 1, end + 32, end - 1, entries), 2);
	assert_int_equal(check_header(backup + 32 * DISK_SECTOR, end + 32, 1, end - 1, entries), end);
	assert_memory_equal(entries, backup, 128 * 128);
	for (size_t i = 0; i < 128; i++) {
		struct wire w = wire_reader(entries + i * 128 + 32, 16);
		uint64_t first = wire_le64(&w), last = wire_le64(&w);

		assert_int_equal(first, i < n ? lba : 0);
		assert_int_equal(last, i < n ? lba + sectors[i] - 1 : 0);
		if (i < n) {
			assert_int_equal(first % 8, 0);
			lba += sectors[i];
		}
	}
}

static void test_table(void **state)
{
	uint64_t many[DISK_LAYERS_MAX];
	static const uint64_t three[] = { 8, 176296, 16 }, large[] = { 1ull << 34 };

	for (size_t i = 0; i < DISK_LAYERS_MAX; i++)
		many[i] = 8 * (i + 1);
	check_table(three, 0);
	check_table(three, 3);
	check_table(large, 1);
	check_table(many, DISK_LAYERS_MAX);
}

static void test_descriptor(void **state)
{
	static const char *const files[] = { "table.gpt", "../layers/a.squashfs", "/dev/fdset/12" };
	static const uint64_t sectors[] = { 8, 24 };
	_cleanup_free_ char *text = disk_make_descriptor(files, sectors, 2);

	assert_string_equal(text, "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n"
				  "# Extent description\nRW 40 FLAT \"table.gpt\" 0\nRW 8 FLAT \"../layers/a.squashfs\" 0\n"
				  "RW 24 FLAT \"/dev/fdset/12\" 0\nRW 33 FLAT \"table.gpt\" 40\n"
				  "# The Disk Data Base\nddb.adapterType = \"ide\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table), cmocka_unit_test(test_descriptor) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
