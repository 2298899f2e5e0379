/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pull.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/own.h"
#include "base/text.h"

#define REDRAW_NS 100000000

int pull_parse_policy(const char *word, enum pull_policy *ret, struct failure *f)
{
	static const char *const words[] = { [PULL_MISSING] = "missing", [PULL_ALWAYS] = "always", [PULL_NEVER] = "never" };

	for (size_t i = 0; word && i < ARRAY_SIZE(words); i++) {
		if (!strcmp(words[i], word)) {
			*ret = (enum pull_policy)i;
			return 0;
		}
	}
	return word ? fail(f, EXIT_USAGE, "--pull: \"%s\" is none of missing, always, never", word) : 0;
}

/* One line, cut at the width of the terminal: a line that wraps could not be rewritten. */
static void show_progress(void *context, const char *what, int64_t done, int64_t total)
{
	struct pull_progress *p = container_of((struct image_progress *)context, struct pull_progress, progress);
	struct winsize size = { .ws_col = 80 };
	char line[512], have[16], all[16];
	int64_t now = text_now_ns();

	if (p->shown && now - p->shown_ns < REDRAW_NS && done != total)
		return;
	p->shown_ns = now;
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (size.ws_col < 20 || size.ws_col > 500)
		size.ws_col = 80;
	text_size(done, have);
	text_size(total, all);
	if (total > 0)
		snprintf(line, sizeof(line), "%s: %s of %s", what, have, all);
	else if (done > 0)
		snprintf(line, sizeof(line), "%s: %s", what, have);
	else
		snprintf(line, sizeof(line), "%s", what);
	fprintf(stderr, "\r\033[K%.*s", size.ws_col - 1, line);
	fflush(stderr);
	p->shown = true;
}

void pull_progress_init(struct pull_progress *p, bool quiet)
{
	*p = (struct pull_progress){ 0 };
	if (!quiet && isatty(STDERR_FILENO))
		p->progress = (struct image_progress){ .fn = show_progress, .context = &p->progress };
}

void pull_progress_done(struct pull_progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r\033[K");
	p->shown = false;
}

int pull_ensure(struct cli *cli, const char *reference, enum pull_policy policy, struct image *ret, struct failure *f)
{
	struct image_pull_options options = { 0 };
	struct pull_progress progress;
	int r;

	if (policy != PULL_ALWAYS && image_find(&cli->home, reference, ret, f) == 0)
		return 0;
	if (policy == PULL_NEVER) {
		f->code = EXIT_USAGE;
		return fail_wrap(f, "--pull never");
	}
	if (policy == PULL_MISSING && isatty(STDERR_FILENO))
		fprintf(stderr, "Unable to find image '%s' locally\n", reference);
	pull_progress_init(&progress, false);
	r = image_pull(&cli->home, reference, &options, progress.progress.fn ? &progress.progress : NULL, ret, f);
	pull_progress_done(&progress);
	if (r < 0)
		f->code = EXIT_USAGE;
	return r < 0 ? -1 : 0;
}
