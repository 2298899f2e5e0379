/* SPDX-License-Identifier: Apache-2.0 */
/* Disks are hot-plugged and known by their serial number, never by their order. */
#pragma once

#include <stddef.h>

/**
 * Wait for the disk with this serial number, and for its partition `partition` (0: the disk itself); at most timeout_ms.
 * ret_path: "/dev/vda" or "/dev/vda3". 0, -ETIMEDOUT, or another negative errno.
 */
int disks_wait(const char *serial, unsigned partition, int timeout_ms, char *ret_path, size_t size);

/* Wait until no file system uses the device any more, at most timeout_ms. 0, -ETIMEDOUT, or another negative errno. */
int disks_wait_free(const char *path, int timeout_ms);
