/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes as people and scripts see them: docker's words, cells and field names. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "cli/listing.h"
#include "store/box.h"

extern const struct listing view_box_listing, view_box_listing_sized;

/* One row of ps. `whole`: ids and commands are not cut (--no-trunc). `size`: what goes under SIZE. */
json_t *view_box_row(const struct box_entry *entry, int64_t now_ns, bool whole, const char *size);
/* One element of inspect. */
json_t *view_box_inspect(const struct box_entry *entry);
/* "Up 5 minutes", "Exited (0) 3 seconds ago", "Created". Caller frees. */
char *view_status(const struct box_state *state, int64_t now_ns);
/* "0.0.0.0:80-82->80-82/tcp, 443/tcp". Caller frees. */
char *view_ports(const struct box_config *config, const struct box_state *state);
/* {"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"443/tcp":null}; an empty object when the box does not run. */
json_t *view_port_map(const struct box_config *config, const struct box_state *state);
/* At most `max` characters, the last one an ellipsis when something was cut. Caller frees. */
char *view_ellipsis(const char *text, size_t max);
