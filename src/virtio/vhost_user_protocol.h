/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the vhost-user protocol (QEMU docs/interop/vhost-user.rst), as far as we serve them. Host byte order. */
#pragma once

#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_REQUEST_MAX = 25,
};

#define VHOST_USER_F_PROTOCOL_FEATURES 30 /* feature bit */

enum vhost_user_protocol_feature {
	VHOST_USER_PROTOCOL_F_MQ = 0,
	VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
	VHOST_USER_PROTOCOL_F_CONFIG = 9,
};

#define VHOST_USER_VERSION 1u /* flags, bits 0 and 1 */
#define VHOST_USER_VERSION_MASK 3u
#define VHOST_USER_REPLY (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

struct vhost_user_header {
	uint32_t request, flags, size;
};

/* SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_ENABLE */
struct vhost_user_vring_state {
	uint32_t index, num;
};

struct vhost_user_vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

/* SET_VRING_KICK, CALL, ERR: a u64 */
#define VHOST_USER_VRING_INDEX_MASK 0xffu
#define VHOST_USER_VRING_NO_FD (1u << 8)

struct vhost_user_memory_region {
	uint64_t gpa, size, user, mmap_offset;
};

struct vhost_user_memory {
	uint32_t n_regions, padding;
	struct vhost_user_memory_region region[8];
};

/* GET_CONFIG, SET_CONFIG: followed by `size` bytes */
struct vhost_user_config {
	uint32_t offset, size, flags;
};
