/* SPDX-License-Identifier: Apache-2.0 */
#include "image/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

#define ENTRY_COUNT 128u
#define ENTRY_SIZE 128u
#define HEADER_SIZE 92u
#define FIRST_USABLE 34u

/* 0FC63DAF-8483-4772-8E79-3D69D8477DE4, "Linux filesystem data", in the table's mixed byte order. */
static const uint8_t linux_data[16] = { 0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
					0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4 };

/* CRC-32 of IEEE 802.3, as the table wants it. 16 KiB once per image: bit by bit is fast enough. */
static uint32_t crc32_of(const uint8_t *data, size_t size)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void put_protective_mbr(uint8_t *sector, uint64_t total)
{
	struct wire w = wire_writer(sector + 446, 16);
	uint64_t size = total - 1;

	wire_put_le32(&w, 0x00020000);	  /* not active, starts at CHS 0/0/2 */
	wire_put_le32(&w, 0xffffffeeu); /* type 0xee, end beyond CHS */
	wire_put_le32(&w, 1);
	wire_put_le32(&w, size > UINT32_MAX ? UINT32_MAX : (uint32_t)size);
	sector[510] = 0x55;
	sector[511] = 0xaa;
}

static void put_entries(uint8_t *entries, const uint64_t *sectors, size_t n, const uint8_t guid[static 16])
{
	uint64_t lba = DISK_TABLE_SECTORS;
	char name[16];

	for (size_t k = 0; k < n && k < ENTRY_COUNT; k++) {
		struct wire w = wire_writer(entries + k * ENTRY_SIZE, ENTRY_SIZE);

		wire_put(&w, linux_data, sizeof(linux_data));
		wire_put(&w, guid, 15);
		wire_put_u8(&w, (uint8_t)(k + 1));
		wire_put_le64(&w, lba);
		wire_put_le64(&w, lba + sectors[k] - 1);
		wire_put_le64(&w, 0);
		(void)snprintf(name, sizeof(name), "layer%zu", k + 1);
		for (const char *p = name; *p; p++)
			wire_put_le16(&w, (uint16_t)*p);
		lba += sectors[k];
	}
}

static void put_header(uint8_t *sector, uint64_t here, uint64_t other, uint64_t entries_lba, uint64_t last_usable,
		       const uint8_t guid[static 16], uint32_t entries_crc)
{
	struct wire w = wire_writer(sector, DISK_SECTOR), crc = wire_writer(sector + 16, 4);

	wire_put(&w, "EFI PART", 8);
	wire_put_le32(&w, 0x00010000);
	wire_put_le32(&w, HEADER_SIZE);
	wire_put_le32(&w, 0); /* its own checksum, counted as zero */
	wire_put_le32(&w, 0);
	wire_put_le64(&w, here);
	wire_put_le64(&w, other);
	wire_put_le64(&w, FIRST_USABLE);
	wire_put_le64(&w, last_usable);
	wire_put(&w, guid, 16);
	wire_put_le64(&w, entries_lba);
	wire_put_le32(&w, ENTRY_COUNT);
	wire_put_le32(&w, ENTRY_SIZE);
	wire_put_le32(&w, entries_crc);
	wire_put_le32(&crc, crc32_of(sector, HEADER_SIZE));
}

void disk_make_table(const uint64_t *sectors, size_t n, const uint8_t guid[static 16], uint8_t ret[static DISK_TABLE_BYTES])
{
	uint8_t *entries = ret + 2 * DISK_SECTOR, *backup = ret + DISK_TABLE_SECTORS * DISK_SECTOR;
	uint64_t end = DISK_TABLE_SECTORS, last;
	uint32_t crc;

	memset(ret, 0, DISK_TABLE_BYTES);
	for (size_t k = 0; k < n; k++)
		end += sectors[k];
	last = end + DISK_BACKUP_SECTORS - 1;
	put_protective_mbr(ret, last + 1);
	put_entries(entries, sectors, n, guid);
	crc = crc32_of(entries, ENTRY_COUNT * ENTRY_SIZE);
	put_header(ret + DISK_SECTOR, 1, last, 2, end - 1, guid, crc);
	memcpy(backup, entries, ENTRY_COUNT * ENTRY_SIZE);
	put_header(backup + ENTRY_COUNT * ENTRY_SIZE, last, 1, end, end - 1, guid, crc);
}

char *disk_make_descriptor(const char *const *files, const uint64_t *sectors, size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	/* No empty line before the first extent: QEMU 7.2 would take that extent twice. */
	fprintf(out, "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n"
		     "# Extent description\nRW %u FLAT \"%s\" 0\n", DISK_TABLE_SECTORS, files[0]);
	for (size_t k = 0; k < n; k++)
		fprintf(out, "RW %llu FLAT \"%s\" 0\n", (unsigned long long)sectors[k], files[k + 1]);
	fprintf(out, "RW %u FLAT \"%s\" %u\n# The Disk Data Base\nddb.adapterType = \"ide\"\n", DISK_BACKUP_SECTORS, files[0],
		DISK_TABLE_SECTORS);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
