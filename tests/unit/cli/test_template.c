/* SPDX-License-Identifier: Apache-2.0 */
/* C09: --format. */
#include "cli/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "test.h"

static const char sample[] =
	"{\"Label\":{\"com.x\":\"y\"},\"Name\":\"web\",\"N\":3,\"Yes\":true,\"No\":false,\"Empty\":\"\",\"Null\":null,\"List\":[\"a\",\"b\"],"
	"\"State\":{\"ExitCode\":7},\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}],\"443/tcp\":null}}";

static const struct {
	const char *template, *expected;
} good[] = {
	{ "", "" },
	{ "plain\\ttext\\n", "plain\ttext\n" },
	{ "{{.Name}}", "web" },
	{ "{{ .Name }}:{{.N}}", "web:3" },
	{ "{{.State.ExitCode}}", "7" },
	{ "{{.Yes}} {{.No}} {{.Null}}", "true false <no value>" },
	{ "{{.List}}", "[a b]" },
	{ "{{.State}}", "map[ExitCode:7]" },
	{ "{{json .State}}", "{\"ExitCode\":7}" },
	{ "{{json .Name}}", "\"web\"" },
	{ "{{.State | json}}", "{\"ExitCode\":7}" },
	{ "{{index .List 1}}", "b" },
	{ "{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080" },
	{ "{{range .List}}<{{.}}>{{end}}", "<a><b>" },
	{ "{{range $i, $v := .List}}{{$i}}={{$v}} {{$.Name}};{{end}}", "0=a web;1=b web;" },
	{ "{{range $p, $c := .Ports}}{{$p}}{{if $c}}->{{(index $c 0).HostPort}}{{end}} {{end}}", "80/tcp->8080 443/tcp " },
	{ "{{range .Empty}}x{{else}}none{{end}}", "none" },
	{ "{{range .Null}}{{.Nothing}}{{end}}", "" },
	{ "{{if .Yes}}y{{else}}n{{end}}{{if .No}}y{{else}}n{{end}}{{if .Empty}}{{.Gone}}{{end}}", "yn" },
	{ "{{if eq .Name \"web\"}}same{{end}}{{if ne .N 3}}other{{end}}{{if not .No}}!{{end}}", "same!" },
	{ "{{join .List \",\"}} {{upper .Name}} {{lower \"ABC\"}} {{title .Name}} {{len .List}}", "a,b WEB abc Web 2" },
	{ "{{println .Name .N}}", "web 3\n" },
	{ "a {{- .Name -}} b", "awebb" },
	{ "{{/* a comment */}}x", "x" },
	{ "{{\"a\\tb\"}}{{`c`}}", "a\tbc" },
	{ "}} {", "}} {" },
	{ "{{if .No}}a{{else if eq .N 3}}b{{else}}c{{end}}|{{if .No}}a{{else if .Empty}}b{{else}}c{{end}}", "b|c" },
	{ "{{if .Yes}}a{{else if .Gone}}b{{else if .Gone}}c{{end}}!", "a!" },
	{ "{{with .State}}{{.ExitCode}}{{else}}none{{end}}{{with .Null}}x{{else}} none{{end}}", "7 none" },
	{ "{{printf \"%s-%5d|%-5s|%05d|%q|%v|%%\" .Name .N .Name .N .Name .Yes}}", "web-    3|web  |00003|\"web\"|true|%" },
	{ "{{printf \"%.2s %x %+d %t\" .Name 255 .N .No}}", "we ff +3 false" },
	{ "{{slice .Name 1}} {{slice .Name 0 2}} {{slice .List 1}}", "eb we [b]" },
	{ "{{print .Name .N 1}} {{split \"a,b\" \",\"}} {{pad .Name 1 2}}| {{truncate .Name 2}}", "web3 1 [a b]  web  | we" },
	{ "{{and .Yes .N}} {{or .Empty .Name}} {{lt .N 4}} {{ge .N 4}} {{gt \"b\" \"a\"}} {{le 3 .N}}", "3 web true false true true" },
	{ "{{.Label \"com.x\"}}|{{.Label \"none\"}}|{{upper (.Label `com.x`)}}", "y||Y" },
};

static const char *const bad[] = {
	"{{", "{{.Name", "{{.Name}", "{{.Nothing}}", "{{.State.Nothing}}", "{{end}}", "{{else}}", "{{if .Yes}}", "{{range .List}}x",
	"{{nosuch .Name}}", "{{json}}", "{{json .Name .N}}", "{{index .List 9}}", "{{index .Name 0}}", "{{$x}}", "{{(.Name}}", "{{\"a}}",
	"{{}}", "{{/* x }}", "{{join .Name}}", "{{upper .N}}", "{{printf}}", "{{printf \"%d\" .Name}}", "{{printf \"%s\"}}",
	"{{printf \"%y\" .N}}", "{{printf \"x\" .N}}", "{{printf \"%99999d\" .N}}", "{{slice .Name 2 1}}", "{{slice .Name 0 9}}",
	"{{slice .N}}", "{{lt .Name 1}}", "{{with .Yes}}", "{{if .No}}{{else if .Yes}}", "{{.Label \"x}}", "{{index .List -1}}",
	"{{((((((((((((((((((((((((((((((((((((((((((((((((((((((((.Name))))))))))))))))))))))))))))))))))))))))))))))))))))))}}",
};

static int render(const char *template, char **ret, struct failure *f)
{
	_cleanup_json_ json_t *value = json_loads(sample, 0, NULL);
	size_t size;
	FILE *out = open_memstream(ret, &size);
	int r = template_render(template, value, out, f);

	fclose(out);
	return r;
}

static void templates_are_filled_in(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_free_ char *text = NULL;
		struct failure f = { 0 };

		if (render(good[i].template, &text, &f) < 0)
			fail_msg("%s: %s", good[i].template, f.text);
		assert_string_equal(text, good[i].expected);
	}
}

static void faults_are_named(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *text = NULL;
		struct failure f = { 0 };

		if (render(bad[i], &text, &f) == 0)
			fail_msg("%s was accepted: %s", bad[i], text);
		assert_int_equal(f.code, EXIT_USAGE);
		assert_non_null(strstr(f.text, "--format: "));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_are_filled_in),
		cmocka_unit_test(faults_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
