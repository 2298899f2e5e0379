/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent is told about a box: the "configure" and "main" requests of include/a3s/agent.h. */
#pragma once

#include "store/box.h"

/**
 * struct guest_facts - what the record does not say
 * @layers:	squashfs partitions on the image's disk
 * @host_resolv_conf: text of the host's file, "" when it has none
 * @host_has_ipv6: the host has an IPv6 address other than loopback
 */
struct guest_facts {
	unsigned layers;
	const char *host_resolv_conf;
	bool host_has_ipv6;
};

/* New objects and texts; NULL without memory. The time and fresh entropy are put in at the call. */
json_t *guest_config_configure(const struct box_config *config, const struct guest_facts *facts);
json_t *guest_config_main(const struct box_config *config, unsigned columns, unsigned rows);
/* /etc/hosts and /etc/resolv.conf of the box. Caller frees. */
char *guest_config_hosts(const struct box_config *config);
char *guest_config_resolv_conf(const struct box_config *config, const char *host_text);
/* Whether one of --add-host asks for host-gateway. */
bool guest_config_wants_host_gateway(const struct box_config *config);
