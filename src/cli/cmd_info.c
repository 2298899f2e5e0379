/* SPDX-License-Identifier: Apache-2.0 */
/* info and version: what this installation is made of, and what it runs boxes with. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "base/proc.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/template.h"
#include "image/image.h"
#include "monitor/accel.h"
#include "store/box.h"

struct info_options {
	const char *format;
};
static const struct option_spec options_table[] = {
	{ "format", 'f', "FORMAT", "json, or a template", option_set_text, offsetof(struct info_options, format) },
	{ 0 },
};

/* First line of `program --version`, from its first digit to the blank after it, or "unknown"; "" when it is missing. */
static json_t *program_version(const char *program)
{
	const char *argv[] = { program, "--version", NULL };
	_cleanup_free_ char *output = NULL;
	const char *p;

	if (proc_run(argv, &output) != 0 || !output)
		return json_string("");
	output[strcspn(output, "\n")] = '\0';
	p = output + strcspn(output, "0123456789");
	if (!*p)
		return json_string(*output ? "unknown" : "");
	return json_stringn(p, strcspn(p, " "));
}

/* The release in the guest kernel's banner, "Linux version 6.1.0-56-cloud-amd64 (...". */
static json_t *kernel_release(void)
{
	static const char banner[] = "Linux version ";
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	const char *map, *at;
	struct stat st;
	json_t *release;

	if (proc_find_data("vmlinux", path, sizeof(path)) < 0)
		return json_string("");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		return json_string("");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return json_string("");
	at = memmem(map, (size_t)st.st_size - 128 * (st.st_size > 128), banner, strlen(banner));
	release = at ? json_stringn(at + strlen(banner), strcspn(at + strlen(banner), " ")) : json_string("");
	munmap((void *)(uintptr_t)map, (size_t)st.st_size);
	return release;
}

/* Template, json, or 1: the caller prints its own form. */
static int print_formatted(const json_t *object, const char *format, struct failure *f)
{
	if (!format || !*format)
		return 1;
	if (!strcmp(format, "json"))
		json_dumpf(object, stdout, JSON_COMPACT);
	else if (template_render(format, object, stdout, f) < 0)
		return -1;
	putchar('\n');
	return 0;
}

static void add_host(json_t *info)
{
	struct utsname host;
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	if (uname(&host) == 0) {
		json_object_set_new(info, "KernelVersion", json_string(host.release));
		json_object_set_new(info, "Architecture", json_string(host.machine));
	}
	json_object_set_new(info, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	json_object_set_new(info, "MemTotal", json_integer(pages * size));
}

static void add_accelerator(struct cli *cli, json_t *info)
{
	struct accel_verdict verdict;
	struct failure why = { 0 };
	bool known = accel_decide(&cli->home, &verdict, &why) == 0;

	json_object_set_new(info, "Accelerator", json_string(known ? accel_name(verdict.kind) : "none"));
	json_object_set_new(info, "AcceleratorReason", json_string(known ? verdict.reason : why.text));
}

static int add_counts(struct cli *cli, json_t *info, struct failure *f)
{
	struct box_list list;
	struct image *images;
	size_t n = 0, running = 0;

	if (box_list_read(&cli->home, &list, f) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++)
		running += box_status_is_alive(list.entries[i].state.status);
	json_object_set_new(info, "Boxes", json_integer((json_int_t)list.n + (json_int_t)list.broken));
	json_object_set_new(info, "BoxesRunning", json_integer((json_int_t)running));
	json_object_set_new(info, "BoxesStopped", json_integer((json_int_t)(list.n - running)));
	json_object_set_new(info, "BoxesUnreadable", json_integer((json_int_t)list.broken));
	box_list_deinit(&list);
	if (image_list(&cli->home, &images, &n, f) < 0)
		return -1;
	image_list_free(images, n);
	json_object_set_new(info, "Images", json_integer((json_int_t)n));
	return 0;
}

static const struct line {
	const char *key, *label;
} info_lines[] = {
	{ "Boxes", "Boxes" },		      { "BoxesRunning", " Running" },
	{ "BoxesStopped", " Stopped" },	      { "BoxesUnreadable", " Unreadable" },
	{ "Images", "Images" },		      { "ServerVersion", "a3s-box Version" },
	{ "Accelerator", "Accelerator" },     { "AcceleratorReason", " Reason" },
	{ "GuestKernel", "Guest Kernel" },    { "Qemu", "QEMU Version" },
	{ "Skopeo", "skopeo Version" },
	{ "KernelVersion", "Host Kernel" },   { "Architecture", "Architecture" },
	{ "NCPU", "CPUs" },		      { "MemTotal", "Total Memory" },
	{ "Home", "Home" },		      { "RuntimeDir", "Runtime Directory" },
};

static void print_info(const json_t *info)
{
	for (size_t i = 0; i < ARRAY_SIZE(info_lines); i++) {
		const json_t *value = json_object_get(info, info_lines[i].key);

		if (json_is_integer(value))
			printf("%s: %" JSON_INTEGER_FORMAT "\n", info_lines[i].label, json_integer_value(value));
		else
			printf("%s: %s\n", info_lines[i].label,
			       json_string_length(value) ? json_string_value(value) : "not found");
	}
}

static int info(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct info_options *o = options;
	_cleanup_json_ json_t *object = json_object();
	int r;

	if (add_counts(cli, object, f) < 0)
		return -1;
	json_object_set_new(object, "ServerVersion", json_string(A3S_VERSION));
	add_accelerator(cli, object);
	json_object_set_new(object, "GuestKernel", kernel_release());
	json_object_set_new(object, "Qemu", program_version("qemu-system-x86_64"));
	json_object_set_new(object, "Skopeo", program_version("skopeo"));
	add_host(object);
	json_object_set_new(object, "Home", json_string(cli->home.path));
	json_object_set_new(object, "RuntimeDir", json_string(cli->home.runtime));
	r = print_formatted(object, o->format, f);
	if (r == 1)
		print_info(object);
	return r < 0 ? -1 : EXIT_DONE;
}

static int version(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct info_options *o = options;
	_cleanup_json_ json_t *object = json_object(), *client = json_object();
	int r;

	json_object_set_new(client, "Version", json_string(A3S_VERSION));
	json_object_set(object, "Client", client);
	json_object_set_new(object, "Qemu", json_pack("{s:o}", "Version", program_version("qemu-system-x86_64")));
	json_object_set_new(object, "GuestKernel", json_pack("{s:o}", "Version", kernel_release()));
	r = print_formatted(object, o->format, f);
	if (r == 1) {
		const json_t *qemu = json_object_get(object, "Qemu"), *kernel = json_object_get(object, "GuestKernel");
		const char *v[] = { json_str(qemu, "Version", ""), json_str(kernel, "Version", "") };

		printf("a3s-box:      %s\nQEMU:         %s\nGuest kernel: %s\n", A3S_VERSION, *v[0] ? v[0] : "not found",
		       *v[1] ? v[1] : "not found");
	}
	return r < 0 ? -1 : EXIT_DONE;
}

const struct command cmd_info = {
	.name = "info",
	.summary = "Show what boxes run with on this host",
	.usage = "[OPTIONS]",
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct info_options),
	.argument = ARGUMENT_NONE,
	.run = info,
};

const struct command cmd_version = {
	.name = "version",
	.summary = "Show versions",
	.usage = "[OPTIONS]",
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct info_options),
	.argument = ARGUMENT_NONE,
	.no_home = true,
	.run = version,
};
