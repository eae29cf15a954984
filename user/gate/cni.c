// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sluice-cni: a chained CNI plugin (the CNI specification, 0.3.0 to 1.1.0). The plugin before
 * us has made the pod's device, and no process of the pod's runs yet: the runtime waits for
 * us. sluiced judges the host's end, or holds it until it knows the pod; then, and only then, we
 * succeed, with the result of the one before to the byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "ask.h"
#include "late.h"
#include "target/veth.h"

#define NEWEST "1.1.0"
#define OPENED ": the veth is NOT judged before its pod starts (failOpen)"
static const char versions[] =
	"\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"" NEWEST "\"";

/* Of the specification, "Error"; from 100 on: our own. */
enum {
	VERSION_UNKNOWN = 1,
	ENVIRONMENT = 4,
	DECODING = 6,
	CONFIGURATION = 7,
	LATER = 11,
	UNAVAILABLE = 50,
	NOT_JUDGED = 100
};

struct plugin {
	struct sl_gate gate;
	const char *command;
	char *text; /* of standard input; owned */
	json_t *config;
	const char *version; /* that the configuration asks for */
	const char *result;  /* prevResult, in text; NULL: none */
	size_t result_len;
	bool open;  /* fails open */
	char *late; /* the error that is said when the time is over; owned */
};

/* ---- what is said ---- */

static json_t *error_json(const struct plugin *p, int code, const char *why)
{
	return json_pack("{s:s, s:i, s:s, s:s}", "cniVersion", p->version ? p->version : NEWEST,
			 "code", code, "msg", "sluice-cni", "details", why);
}

static int fail(const struct plugin *p, int code, const char *why)
{
	json_t *error = error_json(p, code, why);

	if (error)
		json_dumpf(error, stdout, JSON_COMPACT);
	fputc('\n', stdout);
	json_decref(error);
	return 1;
}

static int succeed(const struct plugin *p)
{
	if (!strcmp(p->command, "ADD") &&
	    fwrite(p->result, 1, p->result_len, stdout) != p->result_len)
		return 1;
	return fflush(stdout) ? 1 : 0;
}

/* sluiced is not there, or cannot: as the configuration says. */
static int unanswered(const struct plugin *p, int code)
{
	openlog("sluice-cni", LOG_PID, LOG_DAEMON);
	syslog(p->open ? LOG_WARNING : LOG_ERR, "%s of %s: %s%s", p->command,
	       getenv("CNI_CONTAINERID"), p->gate.why,
	       p->open ? OPENED : "");
	closelog();
	return p->open ? succeed(p) : fail(p, code, p->gate.why);
}

/* ---- the bound on all of it ---- */

#define LATE "sluiced does not answer in time"
#define LATE_WHY LATE " (is it well? `sluice status`)"

/* Before the configuration is read nothing is known but that it does not come. */
static void bound_reading(void)
{
	const struct sl_gate_late late = {
		.who = "sluice-cni", .log = "standard input does not end", .status = 1};

	sl_gate_bound(SL_GATE_SECONDS_MAX, &late);
}

/* What is said if the time is over: as without sluiced. */
static void bound(struct plugin *p, unsigned seconds)
{
	bool add = !strcmp(p->command, "ADD"), del = !strcmp(p->command, "DEL"),
	     status = !strcmp(p->command, "STATUS"), open = del || (p->open && !status);
	const char *container = getenv("CNI_CONTAINERID");
	static char log[256];
	struct sl_gate_late late = {
		.who = "sluice-cni", .log = log, .fd = STDOUT_FILENO, .status = open ? 0 : 1};
	json_t *error = open ? NULL : error_json(p, status ? UNAVAILABLE : LATER, LATE_WHY);

	snprintf(log, sizeof(log), "%s of %.80s: " LATE "%s", p->command,
		 container ? container : "?", open && !del ? OPENED : "");
	p->late = error ? json_dumps(error, JSON_COMPACT) : NULL;
	late.said = !open ? p->late : add ? p->result : NULL;
	late.said_len = !open && p->late ? strlen(p->late) : p->result_len;
	json_decref(error);
	sl_gate_bound(seconds, &late);
}

/* ---- the configuration ---- */

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

static const char *skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

/* Of a text that is known to be JSON. */
static const char *skip_value(const char *at)
{
	unsigned depth = 0;

	do {
		if (*at == '"') {
			at = skip_string(at);
			continue;
		}
		depth += *at == '{' || *at == '[';
		depth -= depth && (*at == '}' || *at == ']');
		at++;
	} while (*at && (depth || !strchr(",}] \t\r\n", *at)));
	return at;
}

/* The bytes of a member of the object that text is, as they stand there. */
static const char *find_member(const char *text, const char *name, size_t *len)
{
	const char *at = skip_space(text) + 1, *key, *value;
	size_t n = strlen(name);

	while (*(at = skip_space(at)) == '"') {
		key = at + 1;
		at = skip_string(at);
		value = skip_space(skip_space(at) + 1); /* behind the colon */
		at = skip_value(value);
		if (!strncmp(key, name, n) && key[n] == '"') {
			*len = (size_t)(at - value);
			return value;
		}
		at = skip_space(at);
		at += *at == ',';
	}
	return NULL;
}

static int read_options(struct plugin *p, unsigned *seconds)
{
	const json_t *open = json_object_get(p->config, "failOpen"),
		     *timeout = json_object_get(p->config, "timeout"),
		     *path = json_object_get(p->config, "socket");

	if (open && !json_is_boolean(open))
		return sl_gate_wrong(&p->gate, "\"failOpen\" is true or false");
	if (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 1 ||
			json_integer_value(timeout) > SL_GATE_SECONDS_MAX))
		return sl_gate_wrong(&p->gate, "\"timeout\" is 1 to %d seconds",
				     SL_GATE_SECONDS_MAX);
	if (path && !json_is_string(path))
		return sl_gate_wrong(&p->gate, "\"socket\" is the path of sluiced's socket");
	p->open = json_is_true(open);
	*seconds = timeout ? (unsigned)json_integer_value(timeout) : SL_GATE_SECONDS;
	p->gate.socket = path ? json_string_value(path) : SL_GATE_SOCKET;
	return 0;
}

/* 0, or the code of what is wrong. */
static int read_config(struct plugin *p, unsigned *seconds)
{
	json_error_t error;
	char quoted[40];

	p->text = sl_gate_read(STDIN_FILENO, false);
	p->config = p->text ? json_loads(p->text, JSON_REJECT_DUPLICATES, &error) : NULL;
	if (!json_is_object(p->config)) {
		sl_gate_wrong(&p->gate, "standard input is no network configuration: %s",
			      !p->text	  ? "more than 1 MiB"
			      : p->config ? "no object"
					  : error.text);
		return DECODING;
	}
	p->version = json_string_value(json_object_get(p->config, "cniVersion"));
	snprintf(quoted, sizeof(quoted), "\"%s\"", p->version ? p->version : "0.1.0");
	if (!strstr(versions, quoted)) {
		sl_gate_wrong(&p->gate, "cniVersion %.30s is not known; these are: %s", quoted,
			      versions);
		p->version = NULL;
		return VERSION_UNKNOWN;
	}
	if (read_options(p, seconds))
		return CONFIGURATION;
	p->result = find_member(p->text, "prevResult", &p->result_len);
	if (strcmp(p->command, "ADD") ||
	    (p->result && json_is_object(json_object_get(p->config, "prevResult"))))
		return 0;
	sl_gate_wrong(&p->gate,
		      "no \"prevResult\": sluice-cni stands in a list of plugins, behind the "
		      "one that makes the pod's device");
	return CONFIGURATION;
}

/* ---- what is asked ---- */

/* KEY=VALUE;...: of the runtime. A new reference, or null. */
static json_t *argument(const char *key)
{
	const char *at = getenv("CNI_ARGS");
	size_t n = strlen(key);

	while (at && *at) {
		size_t len = strcspn(at, ";");

		if (len > n && !strncmp(at, key, n) && at[n] == '=')
			return json_stringn(at + n + 1, len - n - 1);
		at += len + (at[len] == ';');
	}
	return json_null();
}

struct ends {
	int nsid; /* -1: they are only listed */
	json_t *list;
};

static void note(void *context, const struct sl_veth *veth)
{
	struct ends *ends = context;

	if (ends->nsid == veth->nsid)
		json_array_append_new(ends->list, json_integer(veth->ifindex));
}

/* The host's ends; a new reference, NULL with the reason. */
static json_t *find_ends(struct plugin *p)
{
	const char *path = getenv("CNI_NETNS");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, err;
	struct ends ends = {-1, json_array()};

	err = fd >= 0 ? sl_veth_each(note, &ends)
	      : path  ? -errno
		      : -EINVAL; /* that gives numbers */
	if (!err)
		err = sl_netns_of_fd(fd, &ends.nsid);
	if (!err)
		err = sl_veth_each(note, &ends);
	if (fd >= 0)
		close(fd);
	if (!err || err == -ENOENT) /* no veth leads there */
		return ends.list;
	sl_gate_wrong(&p->gate, "%s: the host's end of its veth cannot be found: %s",
		      path ? path : "CNI_NETNS", strerror(-err));
	json_decref(ends.list);
	return NULL;
}

static int judge(struct plugin *p, const json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (!answer)
		return unanswered(p, LATER);
	if (json_is_true(json_object_get(answer, "ok")))
		return succeed(p);
	sl_gate_wrong(&p->gate, "sluiced: %s", error ? error : "an answer without sense");
	return unanswered(p, strcmp(p->command, "CHECK") ? LATER : NOT_JUDGED);
}

static int ask(struct plugin *p)
{
	bool status = !strcmp(p->command, "STATUS");
	json_t *ends = status || !strcmp(p->command, "DEL") ? json_array() : find_ends(p);
	json_t *request, *answer;
	int code;

	if (!ends) {
		sl_gate_in_time();
		return unanswered(p, LATER);
	}
	request = json_pack("{s:i, s:s, s:s, s:s?, s:o, s:o, s:o, s:o}", "sluice", 1, "op",
			    status ? "hello" : "cni", "command", p->command, "container",
			    getenv("CNI_CONTAINERID"), "uid", argument("K8S_POD_UID"), "namespace",
			    argument("K8S_POD_NAMESPACE"), "name", argument("K8S_POD_NAME"),
			    "devices", ends);
	answer = request ? sl_gate_ask(&p->gate, request) : NULL;
	sl_gate_in_time();
	if (!strcmp(p->command, "DEL"))
		code = 0; /* the device goes, whoever is there to hear of it */
	else if (status)
		code = answer ? 0 : fail(p, UNAVAILABLE, p->gate.why);
	else
		code = judge(p, answer);
	json_decref(answer);
	json_decref(request);
	return code;
}

/* What the specification wants in the environment; NULL: all is there. */
static const char *missing(const char *command)
{
	static const char *const all[] = {"CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"};
	size_t n = !strcmp(command, "ADD") || !strcmp(command, "CHECK") ? 3
		   : !strcmp(command, "DEL")				? 2
									: 0;

	for (size_t i = 0; i < n; i++) {
		const char *value = getenv(all[i]);

		if (!value || !*value)
			return all[i];
	}
	return NULL;
}

static bool is_known(const char *command)
{
	static const char *const commands[] = {"ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"};

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(command, commands[i]))
			return true;
	return false;
}

static int run(struct plugin *p)
{
	unsigned seconds = SL_GATE_SECONDS;
	int code;

	bound_reading();
	if (!strcmp(p->command, "VERSION")) {
		printf("{\"cniVersion\":\"" NEWEST "\",\"supportedVersions\":[%s]}\n", versions);
		return 0;
	}
	code = read_config(p, &seconds);
	if (code)
		return fail(p, code, p->gate.why);
	if (missing(p->command)) {
		sl_gate_wrong(&p->gate, "%s wants %s in the environment", p->command,
			      missing(p->command));
		return fail(p, ENVIRONMENT, p->gate.why);
	}
	bound(p, seconds);
	return strcmp(p->command, "GC") ? ask(p) : 0;
}

int main(void)
{
	struct plugin plugin = {.command = getenv("CNI_COMMAND")};
	int status;

	if (!plugin.command) {
		fputs("sluice-cni: a chained CNI plugin, started by a container runtime with "
		      "CNI_COMMAND "
		      "in its environment (docs/kubernetes.md, \"Held by the CNI\")\n",
		      stderr);
		return 2;
	}
	if (!is_known(plugin.command)) {
		sl_gate_wrong(&plugin.gate,
			      "CNI_COMMAND '%.40s' is none of ADD, DEL, CHECK, STATUS, GC "
			      "and VERSION",
			      plugin.command);
		return fail(&plugin, ENVIRONMENT, plugin.gate.why);
	}
	status = run(&plugin);
	json_decref(plugin.config);
	free(plugin.text);
	free(plugin.late);
	return status;
}
