// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sluice-oci-hook: an OCI createRuntime hook (runtime-spec, "POSIX-platform Hooks"). The
 * container's process exists and is in its cgroup, and does not run yet: the runtime
 * waits for us. sluiced gives the cgroup its policy; then, and only then, we succeed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "ask.h"
#include "container/container.h"
#include "http/json.h"
#include "late.h"
#include "target/cgroup.h"

static const char usage[] =
	"usage: sluice-oci-hook [--fail-open] [--timeout SECONDS] [--socket PATH] "
	"[--docker DIR]\n"
	"\n"
	"An OCI createRuntime hook: reads the container's state from standard input and\n"
	"has sluiced give its cgroup the policy of the configuration, before the\n"
	"container's first instruction. Podman, CRI-O: hooks.d; containerd: the base\n"
	"runtime spec. See docs/containers.md.\n"
	"\n"
	"      --fail-open        start the container although sluiced did not answer or\n"
	"                         its policy cannot be given, and log that; without it,\n"
	"                         or by what is wrong with the container itself, it\n"
	"                         does not start\n"
	"      --timeout SECONDS  how long sluiced may take: 1 to 300, default 10\n"
	"      --socket PATH      of sluiced: " SL_GATE_SOCKET "\n"
	"      --docker DIR       Docker's data root: /var/lib/docker\n"
	"      --help\n"
	"\n"
	"example: runc --root /run/runc state web | sluice-oci-hook\n";

struct hook {
	struct sl_gate gate;
	const char *docker;
	bool open;	/* fails open */
	bool of_container; /* what went wrong is the container's own: never open */
	json_t *state;
	struct sl_container container;
};

/* ---- the bound on all of it ---- */

#define LATE "sluiced does not answer in time: the container "
#define LATE_CLOSED LATE "does not start (is sluiced well? `sluice status`)"
#define LATE_OPEN LATE "starts WITHOUT its policy (--fail-open)"

static void bound(const struct hook *hook, unsigned seconds)
{
	const char *said = hook->open ? "sluice-oci-hook: " LATE_OPEN "\n" :
					"sluice-oci-hook: " LATE_CLOSED "\n";
	const struct sl_gate_late late = {
		.who = "sluice-oci-hook",
		.log = hook->open ? LATE_OPEN : LATE_CLOSED,
		.said = said,
		.said_len = strlen(said),
		.fd = STDERR_FILENO,
		.status = hook->open ? 0 : 1,
	};

	sl_gate_bound(seconds, &late);
}

/* ---- the state ---- */

static int read_state(struct hook *hook)
{
	char *text = sl_gate_read(STDIN_FILENO, false);
	json_error_t error;
	const char *id;
	int err;

	if (!text)
		return sl_gate_wrong(&hook->gate, "standard input: no OCI state, or one above 1 MiB");
	hook->state = sl_json_read(text, strlen(text), &error);
	free(text);
	id = json_string_value(json_object_get(hook->state, "id"));
	if (!id)
		return sl_gate_wrong(&hook->gate, "standard input is no OCI state: %s",
			     hook->state ? "it has no \"id\"" : error.text);
	err = sl_container_identify(id, json_string_value(json_object_get(hook->state, "bundle")),
				    json_object_get(hook->state, "annotations"), hook->docker,
				    &hook->container);
	return err ? sl_gate_wrong(&hook->gate, "container '%.80s': %s", id, strerror(-err)) : 0;
}

static char *cgroup_of(const char *process)
{
	char path[64], *cgroup = NULL;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%s/cgroup", process);
	in = fopen(path, "re");
	if (in && sl_cgroup2_own_path(in, &cgroup))
		cgroup = NULL;
	if (in)
		fclose(in);
	return cgroup;
}

/* A policy on a cgroup that the runtime itself is in would be one for the host. */
static bool holds_us(const char *cgroup)
{
	char *own = cgroup_of("self");
	size_t n = strlen(cgroup);
	bool holds = !own || !cgroup[1] || (!strncmp(own, cgroup, n) && (own[n] == '/' || !own[n]));

	free(own);
	return holds;
}

/* Owned; NULL with the reason. */
static char *find_cgroup(struct hook *hook)
{
	json_int_t pid = json_integer_value(json_object_get(hook->state, "pid"));
	char text[32], *cgroup;

	if (pid <= 0) {
		sl_gate_wrong(&hook->gate,
		      "the state has no \"pid\": this is a hook for createRuntime or prestart");
		return NULL;
	}
	snprintf(text, sizeof(text), "%lld", (long long)pid);
	cgroup = cgroup_of(text);
	if (!cgroup) {
		sl_gate_wrong(&hook->gate, "process %s has no cgroup of cgroup2 in /proc/%s/cgroup", text, text);
	} else if (holds_us(cgroup)) {
		sl_gate_wrong(&hook->gate,
		      "the container has no cgroup of its own: it is in %s, with its runtime "
		      "(--cgroups=disabled?)",
		      cgroup);
		free(cgroup);
		return NULL;
	}
	return cgroup;
}

/* ---- sluiced ---- */

/* Refused for what the container asks for: that must not open it. */
static int judge(struct hook *hook, const json_t *answer)
{
	const char *state = json_string_value(json_object_get(answer, "state")),
		   *why = json_string_value(json_object_get(answer, "why")),
		   *error = json_string_value(json_object_get(answer, "error")),
		   *code = json_string_value(json_object_get(answer, "code"));

	if (!answer)
		return -1;
	hook->of_container = code && (!strcmp(code, "choice") || !strcmp(code, "too-large"));
	if (!json_is_true(json_object_get(answer, "ok")))
		return sl_gate_wrong(&hook->gate, "sluiced: %s", error ? error : "an answer without sense");
	if (!json_is_true(json_object_get(answer, "matched")) ||
	    (state && (!strcmp(state, "attached") || !strcmp(state, "left"))))
		return 0;
	return sl_gate_wrong(&hook->gate, "policy \"%s\" is not in force (%s): %s",
		     json_string_value(json_object_get(answer, "policy")), state ? state : "?",
		     why ? why : "see sluiced's log");
}

static int ask(struct hook *hook, const char *cgroup)
{
	json_t *request, *answer = NULL;
	int err;

	request = json_pack("{s:i, s:s, s:s, s:s, s:O, s:s}", "sluice", 1, "op", "container", "id",
			    hook->container.id, "name", hook->container.name, "labels",
			    hook->container.labels, "cgroup", cgroup);
	hook->of_container = request && json_dumpb(request, NULL, 0, JSON_COMPACT) >= SL_GATE_BYTES_MAX;
	if (hook->of_container) {
		err = sl_gate_wrong(&hook->gate, "its name and labels are above 1 MiB");
	} else {
		answer = request ? sl_gate_ask(&hook->gate, request) : NULL;
		err = judge(hook, answer);
	}
	json_decref(answer);
	json_decref(request);
	return err;
}

/* ---- its end ---- */

static int finish(struct hook *hook, int err)
{
	bool open = hook->open && !hook->of_container;
	const char *name = hook->container.name ? hook->container.name : "?";

	if (!err)
		return 0;
	openlog("sluice-oci-hook", LOG_PID, LOG_DAEMON);
	syslog(open ? LOG_WARNING : LOG_ERR, "container %s %s: %s", name,
	       open ? "starts WITHOUT its policy" : "does not start", hook->gate.why);
	closelog();
	fprintf(stderr, "sluice-oci-hook: container %s %s: %s\n", name,
		open ? "starts WITHOUT its policy (--fail-open)" : "does not start", hook->gate.why);
	return open ? 0 : 1;
}

static int run(struct hook *hook, unsigned seconds)
{
	int err = -1;
	char *cgroup;

	bound(hook, seconds);
	hook->gate.patience_ms = seconds * 1000 / 5;
	hook->of_container = read_state(hook);
	if (!hook->of_container) {
		cgroup = find_cgroup(hook);
		err = cgroup ? ask(hook, cgroup) : -1;
		free(cgroup);
	}
	sl_gate_in_time();
	err = finish(hook, err);
	json_decref(hook->state);
	sl_container_free(&hook->container);
	return err;
}

static const struct option long_options[] = {
	{"fail-open", no_argument, NULL, 'o'},	  {"timeout", required_argument, NULL, 't'},
	{"socket", required_argument, NULL, 's'}, {"docker", required_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},	  {},
};

int main(int argc, char **argv)
{
	struct hook hook = {.gate = {.socket = SL_GATE_SOCKET}};
	unsigned long seconds = SL_GATE_SECONDS;
	char *end = "";
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c == 'o')
			hook.open = true;
		else if (c == 's')
			hook.gate.socket = optarg;
		else if (c == 'd')
			hook.docker = optarg;
		else if (c == 't')
			seconds = strtoul(optarg, &end, 10);
		else
			return fputs(usage, stderr), 2;
	}
	if (optind < argc || *end || !seconds || seconds > SL_GATE_SECONDS_MAX) {
		fprintf(stderr, "sluice-oci-hook: '%s': %s\n%s", optind < argc ? argv[optind] : end,
			optind < argc ? "no argument is taken" : "--timeout wants 1 to 300 seconds",
			usage);
		return 2;
	}
	return run(&hook, (unsigned)seconds);
}
