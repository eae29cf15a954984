// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "target/confine.h"
#include "target/private.h"

#define EXIT_FAILED 125

const char *sl_exec_hint(int error, const char *command)
{
	switch (error) {
	case ENOENT:
		return strchr(command, '/') ? "; it, or what its first line (#!) names, is "
					      "not there" :
					      "; nothing in PATH has this name: `command -v` finds "
					      "one, a path needs no PATH";
	case EACCES:
		return "; is it a file, with a right to execute it (chmod +x), in directories that "
		       "the command's user may enter (`namei -l`)?";
	}
	return "";
}

static int complain(const char *what, int err)
{
	fprintf(stderr, "sluice run: %s: %s\n", what, strerror(-err));
	return EXIT_FAILED;
}

static int confine(void)
{
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return complain("no_new_privs", -errno);
	err = sl_confine_scope();
	if (err < 0)
		return complain("Landlock scope", err);
	err = sl_confine_seccomp();
	return err < 0 ? complain("system call filter", err) : 0;
}

int sl_private_become(char *const *argv)
{
	int status = confine(), err;

	if (status)
		return status;
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	err = errno;
	fprintf(stderr, "sluice run: exec: %s: %s%s\n", argv[0], strerror(err),
		sl_exec_hint(err, argv[0]));
	return err == ENOENT ? 127 : 126;
}

/* ---- with mounts ---- */

int sl_private_find_mounts(char path[PATH_MAX])
{
	static const char *const places[] = {"", "/../libexec"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *folder;

	if (n < 0)
		return -errno;
	self[n] = 0;
	folder = dirname(self);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		int len = snprintf(path, PATH_MAX, "%s%s/sluice-mounts", folder, places[i]);

		if (len < PATH_MAX && !access(path, X_OK))
			return 0;
	}
	return -ENOENT;
}

/* Each variable with the sign before it; NULL: no memory. Never freed: exec follows. */
static char **signed_environment(void)
{
	size_t n = 0;
	char **out;

	while (environ && environ[n])
		n++;
	out = calloc(n + 1, sizeof(*out));
	for (size_t i = 0; out && i < n; i++)
		if (asprintf(&out[i], "%c%s", SL_MOUNTS_SIGN, environ[i]) < 0) {
			free(out);
			return NULL;
		}
	return out;
}

static char **behind(const char *program, char *const *argv)
{
	size_t n = 0;
	char **out;

	while (argv[n])
		n++;
	out = calloc(n + 2, sizeof(*out));
	if (!out)
		return NULL;
	out[0] = (char *)program;
	memcpy(out + 1, argv, n * sizeof(*argv));
	return out;
}

int sl_private_become_with_mounts(char *const *argv)
{
	char path[PATH_MAX];
	char **words, **env;
	int err = -ENOMEM;

	if (sl_private_find_mounts(path)) {
		fputs("sluice run: the policy has names, and sluice-mounts, which makes the "
		      "private mounts that they need, is neither beside this program nor in "
		      "../libexec: `sudo make install` puts it there\n",
		      stderr);
		return EXIT_FAILED;
	}
	words = behind(path, argv);
	env = signed_environment();
	if (words && env) {
		execve(path, words, env);
		err = -errno;
	}
	free(words);
	free(env);
	return complain(path, err);
}
