/* SPDX-License-Identifier: Apache-2.0 */
/* What people and scripts write behind flags. First byte: which of the parsers; the rest: its text. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "cli/port_spec.h"
#include "cli/session.h"
#include "cli/template.h"
#include "cli/values.h"
#include "fuzz.h"

static const char sample[] = "{\"Name\":\"web\",\"N\":3,\"Null\":null,\"List\":[\"a\",[1,2]],\"Ports\":{\"80/tcp\":[{\"HostPort\":\"8080\"}]}}";

static void fuzz_ports(const char *text)
{
	_cleanup_free_ struct box_port *ports = NULL;
	struct failure f = { 0 };
	char host[80];
	size_t n = 0;

	if (port_spec_parse(text, &ports, &n, &f) == 0 && port_spec_check(ports, n, &f) == 0)
		port_spec_host(&ports[n - 1], host);
}

static void fuzz_template(const char *text)
{
	_cleanup_json_ json_t *value = json_loads(sample, 0, NULL);
	_cleanup_fclose_ FILE *null = fopen("/dev/null", "we");
	struct failure f = { 0 };

	(void)template_render(text, value, null, &f);
}

static void fuzz_values(const char *text)
{
	struct session session;
	struct failure f = { 0 };
	char host[320], **env = NULL;
	int64_t time;
	unsigned cpus;
	int signal;

	(void)value_parse_time(text, &time, &f);
	(void)value_parse_signal(text, &signal, &f);
	(void)value_parse_cpus(text, 8, &cpus, &f);
	(void)value_parse_host(text, host, &f);
	(void)value_add_env(&env, text, &f);
	(void)value_add_env(&env, text, &f);
	(void)session_parse_keys(&session, text, &f);
	strv_free(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *text) = { fuzz_ports, fuzz_template, fuzz_values };
	_cleanup_free_ char *text = NULL;

	if (size == 0 || size > 4096)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (text)
		parsers[data[0] % ARRAY_SIZE(parsers)](text);
	return 0;
}
