/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/own.h"
#include "cli/command.h"
#include "image/image.h"

#define REGISTRY_DEFAULT "docker.io"

struct login_options {
	const char *user, *password;
	bool from_stdin, tls_verify;
};
static const struct login_options defaults = { .tls_verify = true };

#define AT(member) offsetof(struct login_options, member)
static const struct option_spec options_table[] = {
	{ "password", 'p', "PASSWORD", "Password; --password-stdin keeps it out of the list of processes", option_set_text,
	  AT(password) },
	{ "password-stdin", 0, NULL, "Read the password from standard input", option_set_switch, AT(from_stdin) },
	{ "tls-verify", 0, NULL, "Check the registry's certificate (default true)", option_set_switch, AT(tls_verify) },
	{ "username", 'u', "NAME", "User name", option_set_text, AT(user) },
	{ 0 },
};

static struct termios shown; /* the terminal as it was, while `hiding` */
static volatile sig_atomic_t hiding;

/* Ctrl-C at the prompt: the terminal is not left without echo. */
static void show_and_end(int signal)
{
	if (hiding)
		tcsetattr(STDIN_FILENO, TCSANOW, &shown);
	raise(signal); /* with the default action again: SA_RESETHAND */
}

static void hide_input(void)
{
	static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction action = { .sa_handler = show_and_end, .sa_flags = (int)SA_RESETHAND }, before;
	struct termios quiet;

	if (tcgetattr(STDIN_FILENO, &shown) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
		if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(ending[i], &action, NULL);
	}
	quiet = shown;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	hiding = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
}

static void show_input(void)
{
	if (!hiding)
		return;
	tcsetattr(STDIN_FILENO, TCSANOW, &shown);
	hiding = 0;
	fputc('\n', stderr);
}

/* One line, its newline cut off. A password is not shown while it is typed. */
static int ask(const char *prompt, bool hidden, char **ret, struct failure *f)
{
	size_t room = 0;
	ssize_t n;

	if (isatty(STDIN_FILENO)) {
		if (hidden)
			hide_input();
		fprintf(stderr, "%s: ", prompt);
	}
	*ret = NULL;
	n = getline(ret, &room, stdin);
	show_input();
	if (n > 0)
		(*ret)[strcspn(*ret, "\r\n")] = '\0';
	return n > 0 && **ret ? 0 : fail(f, EXIT_USAGE, "no %s given", hidden ? "password" : "user name");
}

static int login(struct cli *cli, void *options, char **args, struct failure *f)
{
	const struct login_options *o = options;
	const char *registry = args[0] ? args[0] : REGISTRY_DEFAULT;
	_cleanup_free_ char *user = NULL, *password = NULL;

	if (o->password && o->from_stdin)
		return fail(f, EXIT_USAGE, "--password and --password-stdin exclude each other");
	if (o->from_stdin && !o->user)
		return fail(f, EXIT_USAGE, "--password-stdin needs --username");
	if (o->password)
		cli_warn("a password on the command line can be read by others; --password-stdin avoids that");
	if (!o->user && ask("Username", false, &user, f) < 0)
		return -1;
	if (!o->password && ask("Password", true, &password, f) < 0)
		return -1;
	if (image_login(registry, o->user ? o->user : user, o->password ? o->password : password, !o->tls_verify, f) < 0)
		return -1;
	puts("Login Succeeded");
	return EXIT_DONE;
}

static int logout(struct cli *cli, void *options, char **args, struct failure *f)
{
	const char *registry = args[0] ? args[0] : REGISTRY_DEFAULT;

	if (image_logout(registry, f) < 0)
		return -1;
	printf("Removing login credentials for %s\n", registry);
	return EXIT_DONE;
}

const struct command cmd_login = {
	.name = "login",
	.summary = "Keep credentials for a registry",
	.usage = "[OPTIONS] [REGISTRY]",
	.options = { .tables = { options_table } },
	.options_size = sizeof(struct login_options),
	.defaults = &defaults,
	.max_args = 1,
	.argument = ARGUMENT_NONE,
	.no_home = true,
	.run = login,
};

const struct command cmd_logout = {
	.name = "logout",
	.summary = "Forget the credentials for a registry",
	.usage = "[REGISTRY]",
	.max_args = 1,
	.argument = ARGUMENT_NONE,
	.no_home = true,
	.run = logout,
};
