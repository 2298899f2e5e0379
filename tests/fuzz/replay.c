/* SPDX-License-Identifier: Apache-2.0 */
/* In place of libFuzzer's main: runs a fuzzer over the files of its corpus, without clang. */
#include <dirent.h>
#include <err.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "fuzz.h"

static void replay(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ uint8_t *data = malloc(1 << 20);
	_cleanup_free_ uint8_t *exact = NULL;
	size_t n;

	if (!f || !data)
		err(1, "%s", path);
	n = fread(data, 1, 1 << 20, f);
	exact = malloc(n + !n); /* a buffer of its own size, so that the sanitizer sees reads past the end */
	if (!exact)
		err(1, "%s", path);
	for (size_t i = 0; i < n; i++)
		exact[i] = data[i];
	(void)LLVMFuzzerTestOneInput(exact, n);
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	struct dirent *entry;
	DIR *dir;

	if (argc != 2)
		errx(2, "usage: %s CORPUS", argv[0]);
	dir = opendir(argv[1]);
	if (!dir)
		err(1, "%s", argv[1]);
	while ((entry = readdir(dir))) {
		char path[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name) >= (int)sizeof(path))
			errx(1, "%s: name too long", entry->d_name);
		replay(path);
		count++;
	}
	closedir(dir);
	printf("[  PASSED  ] %u test(s).\n", count); /* as cmocka counts */
	return count ? 0 : 1;
}
