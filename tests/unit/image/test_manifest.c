/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of images: the right platform of an index (I01), and what is no image. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"
#include "base/text.h"
#include "image/manifest.h"

#include <cmocka.h> /* last: its fail() is a macro */

#define D(c) "sha256:" c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c
#define ENTRY(digest, os, arch, rest) "{\"digest\":\"" digest "\",\"size\":5,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" rest "}}"

static const char index_text[] =
	"{\"schemaVersion\":2,\"manifests\":[" ENTRY(D("00"), "windows", "amd64", "") "," ENTRY(D("11"), "linux", "amd64", ",\"variant\":\"v3\"") ","
	ENTRY(D("22"), "linux", "amd64", "") "," ENTRY(D("33"), "linux", "arm64", ",\"variant\":\"v8\"") ","
	ENTRY(D("44"), "linux", "arm", ",\"variant\":\"v6\"") "," ENTRY(D("55"), "linux", "arm", ",\"variant\":\"v7\"") ","
	"{\"digest\":\"" D("66") "\",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}},{\"digest\":\"" D("77") "\"},7,null]}";

static const struct {
	const char *platform, *digest, *says;
} choices[] = {
	{ "linux/amd64", D("22"), NULL },
	{ "linux/amd64/v3", D("11"), NULL },
	{ "linux/arm64", D("33"), NULL },
	{ "linux/arm64/v8", D("33"), NULL },
	{ "linux/arm/v7", D("55"), NULL },
	{ "linux/arm", D("44"), NULL },
	{ "windows/amd64", D("00"), NULL },
	{ "linux/riscv64", NULL, "no matching manifest for linux/riscv64 in the manifest list entries" },
	{ "linux/arm/v5", NULL, "no matching manifest for linux/arm/v5" },
	{ "amd64", NULL, "give os/architecture" },
	{ "linux/", NULL, "give os/architecture" },
	{ "a/b/c/d", NULL, "give os/architecture" },
	{ "linux/AMD64", NULL, "give os/architecture" },
};

static void test_choose(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		_cleanup_json_ json_t *index = NULL;
		struct failure f = { 0 };
		struct platform platform;
		struct descriptor d;
		int r = manifest_load(index_text, strlen(index_text), "index", &index, &f);

		assert_int_equal(r, 0);
		assert_true(manifest_is_index(index));
		r = platform_parse(choices[i].platform, &platform, &f);
		if (r == 0)
			r = manifest_choose(index, &platform, &d, &f);
		if (choices[i].digest) {
			assert_int_equal(r, 0);
			assert_string_equal(d.digest, choices[i].digest);
		} else if (r == 0 || !strstr(f.text, choices[i].says)) {
			fail_msg("%s: %s", choices[i].platform, f.text);
		}
	}
}

static const struct {
	const char *text, *says; /* says NULL: fine */
} manifests[] = {
	{ "{\"schemaVersion\":2,\"config\":{\"digest\":\"" D("aa") "\"},\"layers\":[{\"digest\":\"" D("bb") "\",\"size\":12}]}", NULL },
	{ "{\"schemaVersion\":2,\"config\":{\"digest\":\"" D("aa") "\"},\"layers\":[]}", NULL },
	{ "{\"schemaVersion\":1,\"fsLayers\":[]}", "no longer supported" },
	{ "{\"schemaVersion\":2}", "not an image manifest" },
	{ "[]", "not an image manifest" },
	{ "{\"config\":{\"digest\":\"" D("aa") "\"},\"layers\":{}}", "not an image manifest" },
	{ "{\"config\":{\"digest\":\"../../etc\"},\"layers\":[]}", "config has no usable digest" },
	{ "{\"config\":{\"digest\":7},\"layers\":[]}", "config has no usable digest" },
	{ "{\"config\":{\"digest\":\"" D("aa") "\"},\"layers\":[7]}", "layer has no usable digest" },
	{ "{\"config\":{\"digest\":\"" D("aa") "\"},\"layers\":[{\"digest\":\"sha512:00\"}]}", "layer has no usable digest" },
	{ "{", "not valid JSON" },
	{ "", "not valid JSON" },
	{ "<html>", "not valid JSON" },
	{ "{\"schemaVersion\":2,\"config\":\"\xff\"}", "not valid JSON: unable to decode byte 0xff" },
};

static void test_manifests(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(manifests); i++) {
		_cleanup_json_ json_t *json = NULL;
		struct manifest m = { 0 };
		struct failure f = { 0 };
		int r = manifest_load(manifests[i].text, strlen(manifests[i].text), "the manifest", &json, &f);

		if (r == 0)
			r = manifest_parse(json, &m, &f);
		manifest_deinit(&m);
		if (!manifests[i].says)
			assert_int_equal(r, 0);
		else if (r == 0 || !strstr(f.text, manifests[i].says))
			fail_msg("%s: %s", manifests[i].text, f.text);
	}
}

static void test_config(void **state)
{
	static const char text[] =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-01-01T00:00:00Z\",\"config\":{\"Entrypoint\":[\"/e\",\"-x\"],"
		"\"Cmd\":[\"c\"],\"Env\":[\"A=b\",7],\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"Labels\":{\"k\":\"v=w\",\"bad\":1},"
		"\"Volumes\":{\"/data\":{}},\"WorkingDir\":\"/w\",\"User\":\"u:g\",\"StopSignal\":\"SIGRTMIN+3\"},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D("cc") "\"]}}";
	struct failure f = { 0 };
	struct image image;
	char **diff_ids;

	assert_int_equal(config_parse(text, strlen(text), &image, &diff_ids, &f), 0);
	assert_string_equal(image.entrypoint[1], "-x");
	assert_string_equal(image.command[0], "c");
	assert_int_equal(strv_length(image.env), 1);
	assert_true(strv_has(image.exposed, "80/tcp") && strv_has(image.exposed, "53/udp"));
	assert_int_equal(strv_length(image.labels), 1);
	assert_string_equal(image.labels[0], "k=v=w");
	assert_string_equal(image.volumes[0], "/data");
	assert_string_equal(image.workdir, "/w");
	assert_string_equal(image.user, "u:g");
	assert_int_equal(image.stop_signal, SIGRTMIN + 3);
	assert_int_equal(image.created_ns, 1704067200000000000);
	assert_int_equal(image.n_layers, 1);
	assert_string_equal(diff_ids[0], D("cc"));
	(void)strv_free(diff_ids);
	image_deinit(&image);
}

static const struct {
	const char *text;
	int number; /* -1: SIGRTMIN */
} signals[] = { { "SIGTERM", SIGTERM }, { "QUIT", SIGQUIT }, { "9", SIGKILL }, { "SIGRTMIN+0", -1 }, { "", 0 },
		{ "SIGFOO", 0 },	{ "0", 0 },	     { "999", 0 },     { "SIGRTMIN+99", 0 } };

static void test_odd_configs(void **state)
{
	static const char *const bad[] = { "{}", "[]", "7", "{\"rootfs\":{\"diff_ids\":[\"x\"]}}", "{\"rootfs\":{\"diff_ids\":[7]}}",
					   "{\"rootfs\":{\"diff_ids\":{}}}" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct failure f = { 0 };
		struct image image;
		char **diff_ids;

		assert_int_equal(config_parse(bad[i], strlen(bad[i]), &image, &diff_ids, &f), -1);
		assert_null(diff_ids);
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct failure f = { 0 };
		struct image image;
		char text[256], **diff_ids;

		(void)snprintf(text, sizeof(text), "{\"config\":{\"StopSignal\":\"%s\"},\"rootfs\":{\"diff_ids\":[]}}", signals[i].text);
		assert_int_equal(config_parse(text, strlen(text), &image, &diff_ids, &f), 0);
		assert_int_equal(image.stop_signal, signals[i].number < 0 ? SIGRTMIN : signals[i].number);
		(void)strv_free(diff_ids);
		image_deinit(&image);
	}
}

static void test_made_config(void **state)
{
	_cleanup_free_ char *text = config_make(D("ee"));
	struct failure f = { 0 };
	struct image image;
	char **diff_ids;

	assert_non_null(text);
	assert_int_equal(config_parse(text, strlen(text), &image, &diff_ids, &f), 0);
	assert_string_equal(image.os, "linux");
	assert_string_equal(image.command[0], "/bin/sh");
	assert_true(text_starts(image.env[0], "PATH=/"));
	assert_string_equal(diff_ids[0], D("ee"));
	(void)strv_free(diff_ids);
	image_deinit(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choose),	    cmocka_unit_test(test_manifests),	cmocka_unit_test(test_config),
		cmocka_unit_test(test_odd_configs), cmocka_unit_test(test_made_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
