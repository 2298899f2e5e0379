/* SPDX-License-Identifier: Apache-2.0 */
/* config.json and state.json: see the structs in box.h for the meaning of each field. */
#include "store/box.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "store/record.h"

#define CONFIG(key, type) { #key, type, offsetof(struct box_config, key) }
#define STATE(key, type) { #key, type, offsetof(struct box_state, key) }

static const struct record_field config_fields[] = {
	CONFIG(name, RECORD_STRING),
	CONFIG(created_ns, RECORD_INT64),
	CONFIG(image, RECORD_STRING),
	CONFIG(image_id, RECORD_STRING),
	CONFIG(command, RECORD_STRINGS),
	CONFIG(entrypoint_length, RECORD_SIZE),
	CONFIG(env, RECORD_STRINGS),
	CONFIG(workdir, RECORD_STRING),
	CONFIG(user, RECORD_STRING),
	CONFIG(hostname, RECORD_STRING),
	CONFIG(memory, RECORD_INT64),
	CONFIG(cpus, RECORD_UNSIGNED),
	CONFIG(tty, RECORD_FLAG),
	CONFIG(open_stdin, RECORD_FLAG),
	CONFIG(init, RECORD_FLAG),
	CONFIG(read_only, RECORD_FLAG),
	CONFIG(auto_remove, RECORD_FLAG),
	CONFIG(detached, RECORD_FLAG),
	CONFIG(exposed, RECORD_STRINGS),
	CONFIG(dns, RECORD_STRINGS),
	CONFIG(dns_search, RECORD_STRINGS),
	CONFIG(dns_option, RECORD_STRINGS),
	CONFIG(hosts, RECORD_STRINGS),
	CONFIG(labels, RECORD_STRINGS),
	CONFIG(tmpfs, RECORD_STRINGS),
	CONFIG(net_limits, RECORD_STRINGS),
	CONFIG(stop_signal, RECORD_INT),
	CONFIG(stop_timeout, RECORD_INT),
	CONFIG(log_max_size, RECORD_INT64),
	CONFIG(log_max_files, RECORD_UNSIGNED),
};

static const struct record_field state_fields[] = {
	STATE(monitor_pid, RECORD_INT),
	STATE(vm_pid, RECORD_INT),
	STATE(vsock_pid, RECORD_INT),
	STATE(started_ns, RECORD_INT64),
	STATE(finished_ns, RECORD_INT64),
	STATE(exit_code, RECORD_INT),
	STATE(oom_killed, RECORD_FLAG),
	STATE(error, RECORD_STRING),
	STATE(accelerator, RECORD_STRING),
};

static const char *const status_names[] = {
	[BOX_CREATED] = "created", [BOX_STARTING] = "starting", [BOX_RUNNING] = "running", [BOX_EXITED] = "exited", [BOX_DEAD] = "dead",
};
static const char *const network_names[] = {
	[BOX_NETWORK_TSI] = "tsi",
	[BOX_NETWORK_NONE] = "none",
};
static const char *const protocol_names[] = { [BOX_TCP] = "tcp", [BOX_UDP] = "udp" };

const char *box_status_name(enum box_status status)
{
	return (unsigned)status < ARRAY_SIZE(status_names) ? status_names[status] : "unknown";
}

bool box_status_is_alive(enum box_status status)
{
	return status == BOX_STARTING || status == BOX_RUNNING;
}

const char *box_network_name(enum box_network network)
{
	return (unsigned)network < ARRAY_SIZE(network_names) ? network_names[network] : "unknown";
}

const char *box_protocol_name(enum box_protocol protocol)
{
	return (unsigned)protocol < ARRAY_SIZE(protocol_names) ? protocol_names[protocol] : "unknown";
}

/* Index of the word under `key`; -1 and a sentence when it is none of them. A missing key is the first. */
static int word_from_json(const json_t *json, const char *key, const char *const *words, size_t n, struct failure *f)
{
	const char *word = json_str(json, key, words[0]);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i], word))
			return (int)i;
	}
	return fail(f, EXIT_FAILED, "field \"%s\": unknown word \"%.40s\"", key, word);
}

static json_t *ports_to_json(const struct box_port *ports, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < n; i++) {
		const struct box_port *p = &ports[i];

		json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:i, s:s}", "host_address", p->host_address, "host_port",
						       p->host_port, "host_port_last", p->host_port_last, "guest_port",
						       p->guest_port, "protocol", protocol_names[p->protocol]));
	}
	return array;
}

static bool address_is_valid(const char *address)
{
	struct in6_addr in;

	return !*address || inet_pton(AF_INET, address, &in) == 1 || inet_pton(AF_INET6, address, &in) == 1;
}

static int port_from_json(const json_t *json, struct box_port *ret, struct failure *f)
{
	const char *address = json_str(json, "host_address", "");
	int64_t first = json_int(json, "host_port", 0), last = json_int(json, "host_port_last", 0);
	int64_t guest = json_int(json, "guest_port", 0);
	int protocol = word_from_json(json, "protocol", protocol_names, ARRAY_SIZE(protocol_names), f);

	if (protocol < 0)
		return -1;
	if (first < 0 || first > 65535 || last < 0 || last > 65535 || guest < 1 || guest > 65535)
		return fail(f, EXIT_FAILED, "a published port is not within 1..65535");
	if (!address_is_valid(address))
		return fail(f, EXIT_FAILED, "a published port has the address \"%.60s\"", address);
	*ret = (struct box_port){
		.host_port = (uint16_t)first,
		.host_port_last = (uint16_t)last,
		.guest_port = (uint16_t)guest,
		.protocol = (enum box_protocol)protocol,
	};
	snprintf(ret->host_address, sizeof(ret->host_address), "%s", address);
	return 0;
}

static int ports_from_json(const json_t *json, const char *key, struct box_port **ret, size_t *ret_n, struct failure *f)
{
	const json_t *array = json_object_get(json, key), *item;
	size_t i, n = json_array_size(array);
	_cleanup_free_ struct box_port *ports = NULL;

	*ret = NULL;
	*ret_n = 0;
	if (!n)
		return 0;
	ports = calloc(n, sizeof(*ports));
	if (!ports)
		return fail(f, EXIT_FAILED, "out of memory");
	json_array_foreach(array, i, item) {
		if (port_from_json(item, &ports[i], f) < 0)
			return -1;
	}
	*ret = take_ptr(ports);
	*ret_n = n;
	return 0;
}

void box_config_deinit(struct box_config *config)
{
	record_deinit(config_fields, ARRAY_SIZE(config_fields), config);
	free(config->ports);
	config->ports = NULL;
	config->n_ports = 0;
}

void box_state_deinit(struct box_state *state)
{
	record_deinit(state_fields, ARRAY_SIZE(state_fields), state);
	free(state->bound);
	state->bound = NULL;
	state->n_bound = 0;
}

json_t *box_config_to_json(const struct box_config *config)
{
	json_t *json = record_to_json(config_fields, ARRAY_SIZE(config_fields), config);

	if (!json)
		return NULL;
	json_object_set_new(json, "id", json_string(config->id));
	json_object_set_new(json, "network", json_string(box_network_name(config->network)));
	if (config->n_ports)
		json_object_set_new(json, "ports", ports_to_json(config->ports, config->n_ports));
	return json;
}

int box_config_from_json(const json_t *json, struct box_config *ret, struct failure *f)
{
	struct box_config config = BOX_CONFIG_NULL;
	const char *id = json_str(json, "id", "");
	int network = word_from_json(json, "network", network_names, ARRAY_SIZE(network_names), f);

	*ret = (struct box_config)BOX_CONFIG_NULL;
	if (network < 0)
		return -1;
	config.network = (enum box_network)network;
	if (!box_id_is_valid(id))
		return fail(f, EXIT_FAILED, "field \"id\" is not 64 hexadecimal digits");
	memcpy(config.id, id, sizeof(config.id));
	if (record_from_json(config_fields, ARRAY_SIZE(config_fields), json, &config, f) < 0 ||
	    ports_from_json(json, "ports", &config.ports, &config.n_ports, f) < 0)
		goto refuse;
	if (!config.name || !box_name_is_valid(config.name) || !config.image || !config.image_id) {
		fail(f, EXIT_FAILED, "a valid \"name\", \"image\" and \"image_id\" are needed");
		goto refuse;
	}
	*ret = config;
	return 0;
refuse:
	box_config_deinit(&config);
	return -1;
}

json_t *box_state_to_json(const struct box_state *state)
{
	json_t *json = record_to_json(state_fields, ARRAY_SIZE(state_fields), state);

	if (!json)
		return NULL;
	json_object_set_new(json, "status", json_string(box_status_name(state->status)));
	if (state->n_bound)
		json_object_set_new(json, "bound", ports_to_json(state->bound, state->n_bound));
	return json;
}

int box_state_from_json(const json_t *json, struct box_state *ret, struct failure *f)
{
	struct box_state state = BOX_STATE_NULL;
	int status = word_from_json(json, "status", status_names, ARRAY_SIZE(status_names), f);

	*ret = (struct box_state)BOX_STATE_NULL;
	if (status < 0)
		return -1;
	state.status = (enum box_status)status;
	if (record_from_json(state_fields, ARRAY_SIZE(state_fields), json, &state, f) < 0 ||
	    ports_from_json(json, "bound", &state.bound, &state.n_bound, f) < 0) {
		box_state_deinit(&state);
		return -1;
	}
	*ret = state;
	return 0;
}

bool box_id_is_valid(const char *id)
{
	return strlen(id) == BOX_ID_LENGTH && strspn(id, "0123456789abcdef") == BOX_ID_LENGTH;
}

bool box_name_is_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t n = strlen(name);

	return n >= 1 && n <= BOX_NAME_MAX && !strchr("_.-", name[0]) && strspn(name, letters) == n;
}
