/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for bash, zsh and fish. The scripts are a few lines that hand the words typed so far to `a3s-box __complete`,
 * which answers from the same tables as the parser: one candidate a line, a tab, a description; the line ":files" leaves it to
 * the shell's own completion of paths.
 */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/ps_filter.h"
#include "image/image.h"
#include "store/box.h"

/* bash cuts words at ":" and "=": they are put together again, and what it does not replace is taken off the answers. */
static const char bash_script[] =
	"_a3s_box() {\n"
	"\tlocal IFS=$'\\n' i line word cut='' words=()\n"
	"\tfor ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif ((${#words[@]})) && [[ $word == [:=]* || ${words[-1]} == *[:=] ]]; then\n"
	"\t\t\twords[-1]+=$word\n"
	"\t\telse\n"
	"\t\t\twords+=(\"$word\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tword=${words[-1]}\n"
	"\t[[ $word != *[:=]* ]] || cut=${word%\"${word##*[:=]}\"}\n"
	"\tCOMPREPLY=()\n"
	"\tfor line in $(a3s-box __complete \"${words[@]}\" 2>/dev/null); do\n"
	"\t\tif [ \"$line\" = :files ]; then\n"
	"\t\t\tcompopt -o default\n"
	"\t\telse\n"
	"\t\t\tline=${line%%$'\\t'*}\n"
	"\t\t\tCOMPREPLY+=(\"${line#\"$cut\"}\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"}\n"
	"complete -F _a3s_box a3s-box\n";

static const char zsh_script[] =
	"#compdef a3s-box\n"
	"_a3s_box() {\n"
	"\tlocal -a candidates\n"
	"\tlocal line\n"
	"\tfor line in \"${(@f)$(a3s-box __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\"; do\n"
	"\t\tif [[ $line == :files ]]; then\n"
	"\t\t\t_files\n"
	"\t\telif [[ -n $line ]]; then\n"
	"\t\t\tcandidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
	"\t\tfi\n"
	"\tdone\n"
	"\t(( $#candidates )) && _describe a3s-box candidates\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _a3s_box ]; then\n"
	"\t_a3s_box \"$@\"\n"
	"else\n"
	"\tcompdef _a3s_box a3s-box\n"
	"fi\n";

static const char fish_script[] =
	"function __a3s_box_complete\n"
	"\tset -l words (commandline -opc)[2..-1] (commandline -ct)\n"
	"\tfor line in (a3s-box __complete $words 2>/dev/null)\n"
	"\t\tif test \"$line\" = :files\n"
	"\t\t\t__fish_complete_path (commandline -ct)\n"
	"\t\telse\n"
	"\t\t\techo $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c a3s-box -f -a '(__a3s_box_complete)'\n";

static const struct {
	const char *shell, *script;
} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

static int completion(struct cli *cli, void *options, char **args, struct failure *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		if (!strcmp(scripts[i].shell, args[0])) {
			fputs(scripts[i].script, stdout);
			return EXIT_DONE;
		}
	}
	return fail(f, EXIT_USAGE, "\"%s\" is none of bash, zsh, fish", args[0]);
}

/**
 * struct words - the command line so far
 * @current:	what is being typed, "" when nothing yet
 */
struct words {
	const char *current;
	const struct option_spec *wants_value; /* the word before it is a flag that takes one */
	const char *value_prefix;	       /* "--flag=" before the value in the current word, else "" */
	unsigned arguments;		       /* complete ones before the current word */
	bool flags_ended;
};

static void offer(const struct words *w, const char *candidate, const char *description)
{
	if (text_starts(candidate, w->current))
		printf("%s\t%s\n", candidate, description);
}

static void offer_flag(const struct option_spec *spec, void *context)
{
	char flag[64];

	snprintf(flag, sizeof(flag), "--%s", spec->flag);
	offer(context, flag, spec->help);
}

static void offer_boxes(struct cli *cli, const struct words *w, bool running_only)
{
	struct failure ignored = { 0 };
	struct box_list list;

	if (box_list_read(&cli->home, &list, &ignored) < 0)
		return;
	for (size_t i = 0; i < list.n; i++) {
		const struct box_entry *e = &list.entries[i];

		if (!running_only || box_status_is_alive(e->state.status))
			offer(w, e->config.name, e->config.image);
	}
	box_list_deinit(&list);
}

static void offer_images(struct cli *cli, const struct words *w)
{
	struct failure ignored = { 0 };
	struct image *list;
	char familiar[512];
	size_t n;

	if (image_list(&cli->home, &list, &n, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		for (char **r = list[i].references; r && *r; r++) {
			image_familiar(*r, familiar);
			offer(w, familiar, "image");
		}
	}
	image_list_free(list, n);
}

/* A value behind a flag, with "--flag=" before it when that is in the same word. */
static void offer_word(const struct words *w, const char *value, const char *prefix)
{
	char whole[80];

	snprintf(whole, sizeof(whole), "%s%s", prefix, value);
	if (text_starts(whole, w->current))
		printf("%s%s\t\n", w->value_prefix, whole);
}

static void offer_filters(const struct words *w)
{
	const char *word;

	for (size_t i = 0; (word = ps_filter_key(i)); i++)
		offer_word(w, word, "");
	for (size_t i = 0; text_starts(w->current, "status=") && (word = ps_filter_status(i)); i++)
		offer_word(w, word, "status=");
}

static void offer_value(const struct words *w)
{
	static const struct {
		const char *flag, *values[4];
	} known[] = {
		{ "network", { "tsi", "none" } },	   { "net", { "tsi", "none" } },
		{ "pull", { "missing", "always", "never" } }, { "format", { "json", "table" } },
		{ "signal", { "TERM", "KILL", "HUP", "INT" } }, { "stop-signal", { "TERM", "KILL", "HUP", "INT" } },
		{ "type", { "box", "image" } },		   { "log-opt", { "max-size=", "max-file=" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		for (size_t k = 0; !strcmp(known[i].flag, w->wants_value->flag) && k < 4 && known[i].values[k]; k++)
			offer_word(w, known[i].values[k], "");
	}
	if (!strcmp(w->wants_value->flag, "filter"))
		offer_filters(w);
	if (!strcmp(w->wants_value->argument, "FILE"))
		puts(":files");
}

static void offer_arguments(struct cli *cli, const struct command *command, const struct words *w)
{
	bool first_only = command->options.flags_first;

	if (w->arguments >= command->max_args || (first_only && w->arguments > 0))
		return;
	switch (command->argument) {
	case ARGUMENT_NONE:
		break;
	case ARGUMENT_BOX:
	case ARGUMENT_RUNNING_BOX:
		offer_boxes(cli, w, command->argument == ARGUMENT_RUNNING_BOX);
		break;
	case ARGUMENT_IMAGE:
		offer_images(cli, w);
		break;
	case ARGUMENT_FILE:
		puts(":files");
		break;
	case ARGUMENT_SHELL:
		for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
			offer(w, scripts[i].shell, "shell");
		break;
	}
}

static const struct option_spec *find_option(const struct option_set *set, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < ARRAY_SIZE(set->tables); i++) {
		for (const struct option_spec *s = set->tables[i]; s && s->flag; s++) {
			if (text_starts(word, "--") ? !strcmp(word + 2, s->flag) : n >= 2 && word[n - 1] == s->letter)
				return s;
		}
	}
	return NULL;
}

/* The words behind the command's name, the last one being typed. */
static void read_words(const struct command *command, char **args, struct words *ret)
{
	*ret = (struct words){ .current = "", .value_prefix = "" };
	for (; *args && args[1]; args++) {
		const struct option_spec *spec;

		if (ret->flags_ended || args[0][0] != '-') {
			ret->arguments++;
			ret->flags_ended = ret->flags_ended || command->options.flags_first;
			continue;
		}
		ret->flags_ended = !strcmp(*args, "--");
		spec = strchr(*args, '=') ? NULL : find_option(&command->options, *args);
		if (!spec || !spec->argument)
			continue;
		if (!args[2])
			ret->wants_value = spec;
		args++;
		if (!args[1])
			break;
	}
	ret->current = *args ? *args : "";
}

/* "--flag=val": the value is completed, with the flag before it. */
static void split_value(const struct command *command, struct words *w, char prefix[static 80])
{
	const char *equals = strchr(w->current, '=');

	if (w->wants_value || !equals || !text_starts(w->current, "--"))
		return;
	snprintf(prefix, 80, "%.*s", (int)(equals - w->current), w->current);
	w->wants_value = find_option(&command->options, prefix);
	if (!w->wants_value)
		return;
	snprintf(prefix, 80, "%.*s", (int)(equals + 1 - w->current), w->current);
	w->value_prefix = prefix;
	w->current = equals + 1;
}

static void offer_grouped(const char *word, const struct command *command, void *context)
{
	offer(context, word, command->summary);
}

static void offer_commands(const struct words *w)
{
	for (size_t i = 0; commands[i]; i++) {
		if (!commands[i]->hidden)
			offer(w, commands[i]->name, commands[i]->summary);
	}
	offer(w, "container", "Commands for boxes");
	offer(w, "image", "Commands for images");
}

static int complete_words(struct cli *cli, void *options, char **args, struct failure *f)
{
	const char *group = args[0] && command_is_group(args[0]) ? args[0] : NULL;
	struct words w = { .current = "", .value_prefix = "" };
	const struct command *command;
	char prefix[80];

	if (!args[0] || !args[1]) {
		w.current = args[0] ? args[0] : "";
		offer_commands(&w);
		return EXIT_DONE;
	}
	if (group && !args[2]) {
		w.current = args[1];
		command_each_grouped(group, offer_grouped, &w);
		return EXIT_DONE;
	}
	args += group != NULL;
	command = group ? command_find_grouped(group, args[0]) : command_find(args[0]);
	if (!command)
		return EXIT_DONE;
	read_words(command, args + 1, &w);
	split_value(command, &w, prefix);
	if (w.wants_value && w.wants_value->argument)
		offer_value(&w);
	else if (w.current[0] == '-' && !w.flags_ended)
		option_each(&command->options, offer_flag, &w);
	else
		offer_arguments(cli, command, &w);
	return EXIT_DONE;
}

const struct command cmd_completion = {
	.name = "completion",
	.summary = "Print the completion script for a shell",
	.usage = "bash|zsh|fish",
	.min_args = 1,
	.max_args = 1,
	.argument = ARGUMENT_SHELL,
	.no_home = true,
	.run = completion,
};

const struct command cmd_complete = {
	.name = "__complete",
	.summary = "Answer a shell's completion script",
	.usage = "[WORD...]",
	.options = { .flags_first = true },
	.max_args = ARGUMENTS_ANY,
	.argument = ARGUMENT_NONE,
	.hidden = true,
	.run = complete_words,
};
