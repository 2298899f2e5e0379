/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk from many files: a GUID partition table (UEFI 2.10, chapter 5) whose partition k is layer k, and the VMDK descriptor
 * that makes QEMU concatenate table, layers and backup table. No byte of a layer is copied.
 *
 *	LBA 0		protective MBR			\
 *	LBA 1		primary header			 | table.gpt, first DISK_TABLE_SECTORS
 *	LBA 2-33	128 entries, then zeros		/
 *	LBA 40...	layers, each a multiple of 4 KiB
 *	last 33		entries again, backup header	- table.gpt, the rest
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DISK_LAYERS_MAX 127
#define DISK_SECTOR 512u
#define DISK_TABLE_SECTORS 40u	/* keeps the layers on 4 KiB boundaries */
#define DISK_BACKUP_SECTORS 33u
#define DISK_TABLE_BYTES ((DISK_TABLE_SECTORS + DISK_BACKUP_SECTORS) * DISK_SECTOR)

/* sectors[k]: size of layer k + 1. `guid` makes table and partitions unique (16 bytes). */
void disk_make_table(const uint64_t *sectors, size_t n, const uint8_t guid[static 16], uint8_t ret[static DISK_TABLE_BYTES]);
/* files: table, then n layers. Caller frees; NULL: no memory. */
char *disk_make_descriptor(const char *const *files, const uint64_t *sectors, size_t n);
