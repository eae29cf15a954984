// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sluice-oci-runtime: runc, with a hook. Docker knows no hooks, but runtimes ("runtimes" of its
 * daemon.json): this one adds sluice-oci-hook to the container's configuration when one is
 * created, and becomes the runtime, which then runs the hook. All else it hands on.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "spec.h"

#define HOOK "sluice-oci-hook"

static const char usage[] =
	"usage: sluice-oci-runtime [--runtime PATH] [--fail-open] [--timeout SECONDS]\n"
	"                          [--socket PATH] [--docker DIR] RUNTIME-ARGUMENTS...\n"
	"\n"
	"An OCI runtime for Docker, whose containers have their policy before their first\n"
	"instruction: it becomes another runtime, with sluice-oci-hook, which stands beside\n"
	"it and takes the other options, as a createRuntime hook. See docs/containers.md.\n"
	"\n"
	"      --runtime PATH     the other runtime; default runc\n"
	"      --sluice-help\n"
	"\n"
	"example: /etc/docker/daemon.json\n"
	"  {\"runtimes\": {\"sluice\": {\"path\": \"/usr/local/libexec/sluice-oci-runtime\"}},\n"
	"   \"default-runtime\": \"sluice\"}\n";

struct call {
	const char *runtime;
	char hook[PATH_MAX];
	char **words; /* the runtime's arguments; NULL-terminated */
	json_t *args; /* of the hook */
};

/* ---- ours ---- */

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

/* Our own stand first. 0, or what main returns. */
static int read_own(struct call *c, char **argv)
{
	static const char *const valued[] = {"--timeout", "--socket", "--docker", NULL};
	char **at = argv + 1;

	for (; *at; at++) {
		bool takes = is_one_of(*at, valued), is_runtime = !strcmp(*at, "--runtime");

		if (!takes && !is_runtime && strcmp(*at, "--fail-open"))
			break;
		if (!is_runtime)
			json_array_append_new(c->args, json_string(*at));
		if (!takes && !is_runtime)
			continue;
		if (!at[1]) {
			fprintf(stderr, "sluice-oci-runtime: %s wants a value\n%s", *at, usage);
			return 2;
		}
		at++;
		if (is_runtime)
			c->runtime = *at;
		else
			json_array_append_new(c->args, json_string(*at));
	}
	c->words = at;
	return 0;
}

/* ---- the runtime's ---- */

/* The value of an option, in its two spellings: NAME VALUE, NAME=VALUE. */
static const char *value_of(char **at, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(*at, name, n))
		return NULL;
	return (*at)[n] == '=' ? *at + n + 1 : (*at)[n] ? NULL : at[1];
}

/* The command: the first word that is no option, and no option's value (runc's global ones). */
static char **find_command(char **words, const char **log)
{
	static const char *const valued[] = {"--log",  "--log-format", "--root",
					     "--criu", "--rootless",   NULL};
	const char *found;

	for (; *words && **words == '-'; words++) {
		found = value_of(words, "--log");
		*log = found ? found : *log;
		if (is_one_of(*words, valued) && words[1])
			words++;
	}
	return words;
}

static const char *find_bundle(char **command)
{
	static const char *const names[] = {"--bundle", "-bundle", "-b", "--b", NULL};
	const char *found = NULL, *value;

	for (char **at = command + 1; *at; at++)
		for (size_t i = 0; names[i]; i++) {
			value = value_of(at, names[i]);
			found = value ? value : found;
		}
	return found ? found : ".";
}

/* ---- what is wrong ---- */

/* containerd reads why it does not start in the runtime's log. */
static void put_log(const char *log, const char *text)
{
	FILE *out = log ? fopen(log, "ae") : NULL;
	char at[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	json_t *line;

	if (!out)
		return;
	if (gmtime_r(&now, &tm))
		strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	line = json_pack("{s:s, s:s, s:s}", "level", "error", "msg", text, "time", at);
	if (line && !json_dumpf(line, out, JSON_COMPACT))
		fputc('\n', out);
	json_decref(line);
	fclose(out);
}

static int wrong(const char *log, const char *what, const char *why)
{
	char *text;

	if (asprintf(&text, "sluice-oci-runtime: %s: %s", what, why) < 0)
		return 1;
	openlog("sluice-oci-runtime", LOG_PID, LOG_DAEMON);
	syslog(LOG_ERR, "%s: %s", what, why);
	closelog();
	fprintf(stderr, "%s\n", text);
	put_log(log, text);
	free(text);
	return 1;
}

/* ---- its work ---- */

static int find_hook(struct call *c)
{
	ssize_t n = readlink("/proc/self/exe", c->hook, sizeof(c->hook) - sizeof("/" HOOK));
	char *slash;

	if (n <= 0)
		return -errno;
	c->hook[n] = 0;
	slash = strrchr(c->hook, '/');
	strcpy(slash + 1, HOOK);
	return access(c->hook, X_OK) ? -errno : 0;
}

static int add_hook(struct call *c, const char *bundle, const char *log)
{
	const char *why = NULL;
	json_t *hook;
	char *path;
	int err;

	if (find_hook(c))
		return wrong(log, c->hook,
			     "it is not there: `make install` puts it beside sluice-oci-runtime");
	if (asprintf(&path, "%s/config.json", bundle) < 0)
		return wrong(log, bundle, strerror(ENOMEM));
	hook = json_pack("{s:s, s:O}", "path", c->hook, "args", c->args);
	err = hook ? sl_spec_add_hook(path, hook, &why) : -ENOMEM;
	if (err)
		err = wrong(log, path, why ? why : strerror(-err));
	json_decref(hook);
	free(path);
	return err;
}

static int become(const struct call *c, const char *log)
{
	char **words = c->words - 1; /* argv[0] at the least is before them */

	words[0] = (char *)c->runtime;
	execvp(c->runtime, words);
	return wrong(log, c->runtime, strerror(errno));
}

int main(int argc, char **argv)
{
	struct call c = {.runtime = "runc", .args = json_pack("[s]", HOOK)};
	const char *log = NULL;
	char **command;
	int err;

	if (argc < 2 || !strcmp(argv[1], "--sluice-help")) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	err = c.args ? read_own(&c, argv) : 1;
	if (err)
		return err;
	command = find_command(c.words, &log);
	if (*command && (!strcmp(*command, "create") || !strcmp(*command, "run")))
		err = add_hook(&c, find_bundle(command), log);
	json_decref(c.args);
	return err ? 1 : become(&c, log);
}
