/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "guest_config.h"
#include "tsi/tsi_protocol.h"

static const char hosts_head[] = "127.0.0.1\tlocalhost\n"
				 "::1\tlocalhost ip6-localhost ip6-loopback\n"
				 "fe00::\tip6-localnet\n"
				 "ff00::\tip6-mcastprefix\n"
				 "ff02::1\tip6-allnodes\n"
				 "ff02::2\tip6-allrouters\n";

/* An address of the protocol, in host order. */
static void put_address(FILE *out, const char *before, uint32_t address)
{
	const struct in_addr in = { htonl(address) };
	char text[INET_ADDRSTRLEN];

	fprintf(out, "%s%s", before, inet_ntop(AF_INET, &in, text, sizeof(text)));
}

/* "name:address": the address may itself have colons, and brackets. */
static void put_host(FILE *out, const char *entry)
{
	size_t name_length = strcspn(entry, ":=");
	const char *address = entry + name_length + (entry[name_length] != '\0');
	size_t n = strlen(address);

	if (!name_length || !n)
		return;
	if (*address == '[' && address[n - 1] == ']') {
		address++;
		n -= 2;
	}
	if (strcmp(address, "host-gateway") == 0)
		put_address(out, "", TSI_ADDRESS_HOST);
	else
		fprintf(out, "%.*s", (int)n, address);
	fprintf(out, "\t%.*s\n", (int)name_length, entry);
}

char *guest_config_hosts(const struct box_config *config)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs(hosts_head, out);
	for (char **h = config->hosts; h && *h; h++)
		put_host(out, *h);
	if (config->hostname && *config->hostname) {
		put_address(out, "", config->network == BOX_NETWORK_NONE ? INADDR_LOOPBACK : TSI_ADDRESS_GUEST);
		fprintf(out, "\t%s\n", config->hostname);
	}
	return fclose(out) == 0 ? text : NULL;
}

/* The host's lines that begin with a keyword, whole, in their order. */
static void put_host_lines(FILE *out, const char *host_text, const char *keyword)
{
	size_t n = strlen(keyword);

	while (*host_text) {
		size_t length = strcspn(host_text, "\n");

		if (length > n + 1 && length < 1024 && strncmp(host_text, keyword, n) == 0 && strchr(" \t", host_text[n]))
			fprintf(out, "%.*s\n", (int)length, host_text);
		host_text += length + (host_text[length] == '\n');
	}
}

static void put_words(FILE *out, const char *keyword, char *const *words)
{
	fputs(keyword, out);
	for (; *words; words++)
		fprintf(out, " %s", *words);
	fputc('\n', out);
}

char *guest_config_resolv_conf(const struct box_config *config, const char *host_text)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	if (config->network == BOX_NETWORK_NONE)
		return strdup("");
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	put_address(out, "nameserver ", TSI_ADDRESS_RESOLVER);
	fputc('\n', out);
	if (!config->dns_search || !*config->dns_search) {
		put_host_lines(out, host_text, "search");
		put_host_lines(out, host_text, "domain");
	} else if (strcmp(*config->dns_search, ".") != 0) {
		put_words(out, "search", config->dns_search);
	}
	if (config->dns_option && *config->dns_option)
		put_words(out, "options", config->dns_option);
	else
		put_host_lines(out, host_text, "options");
	return fclose(out) == 0 ? text : NULL;
}

bool guest_config_wants_host_gateway(const struct box_config *config)
{
	for (char **h = config->hosts; h && *h; h++) {
		size_t n = strcspn(*h, ":=");

		if ((*h)[n] && strcmp(*h + n + 1, "host-gateway") == 0)
			return true;
	}
	return false;
}

/* "/path:options" -> {"/path":"options"} */
static json_t *tmpfs_to_json(char *const *entries)
{
	json_t *object = json_object();

	for (; object && entries && *entries; entries++) {
		size_t n = strcspn(*entries, ":");
		char path[4096];

		if (n < sizeof(path)) {
			snprintf(path, sizeof(path), "%.*s", (int)n, *entries);
			json_object_set_new(object, path, json_string((*entries)[n] ? *entries + n + 1 : ""));
		}
	}
	return object;
}

/* Takes text. The host's resolv.conf may have bytes that JSON cannot hold. NULL: no memory. */
static json_t *text_to_json(char *text)
{
	json_t *value;

	if (text)
		text_mend_utf8(text);
	value = text ? json_string(text) : NULL;
	free(text);
	return value;
}

static void random_hex(char ret[static 129])
{
	uint8_t bytes[64] = { 0 };

	if (getrandom(bytes, sizeof(bytes), 0) < 0)
		bytes[0] = 0; /* cannot happen after boot; the guest has its own sources besides */
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

json_t *guest_config_configure(const struct box_config *config, const struct guest_facts *facts)
{
	json_t *hosts = text_to_json(guest_config_hosts(config));
	json_t *resolv_conf = text_to_json(guest_config_resolv_conf(config, facts->host_resolv_conf));
	char entropy[129];

	random_hex(entropy);
	return json_pack("{s:s,s:i,s:b,s:b,s:o,s:s?,s:o,s:o,s:s,s:b,s:I,s:s}", "op", "configure", "layers", (int)facts->layers,
			 "writable", 1, "read_only", config->read_only, "tmpfs", tmpfs_to_json(config->tmpfs), "hostname",
			 config->hostname, "hosts", hosts, "resolv_conf", resolv_conf, "network",
			 config->network == BOX_NETWORK_NONE ? "none" : "tsi", "ipv6", facts->host_has_ipv6, "time_ns",
			 (json_int_t)text_now_ns(), "entropy", entropy);
}

json_t *guest_config_main(const struct box_config *config, unsigned columns, unsigned rows)
{
	return json_pack("{s:s,s:o,s:o,s:s,s:s,s:b,s:b,s:b,s:i,s:i}", "op", "main", "argv", json_from_strv(config->command), "env",
			 json_from_strv(config->env), "cwd", config->workdir && *config->workdir ? config->workdir : "/", "user",
			 config->user ? config->user : "", "init", config->init, "stdin", config->open_stdin, "tty", config->tty,
			 "columns", (int)columns, "rows", (int)rows);
}
