// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * follow_cluster SERVER CA TOKEN NODE [PAGE]: the client of the API server without sluiced.
 * A JSON object a line on stdout whenever there is something new: what it knows, how it is,
 * and its memory. Lines on stdin: "policy NAMESPACE NAME" prints that pod's policy as
 * {"policy": TEXT}, "state" the state, "fate UID WHY" is what became of a pod ("ok": its policy is in
 * force, nothing: not to be told of). Ends when stdin does.
 */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apiserver/api.h"

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The most that has been resident. (getrusage counts what the parent had before exec, too.) */
static long peak_kb(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kb = 0;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmHWM: %ld", &kb);
	if (file)
		fclose(file);
	return kb;
}

static void print(json_t *json)
{
	json_dumpf(json, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(json);
}

static json_t *counts(const struct sl_kube *kube)
{
	if (!kube)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:b}", "pods", (int)kube->n_pods, "namespaces",
			 (int)kube->n_namespaces, "services", (int)kube->n_services, "endpoints",
			 (int)kube->n_endpoints, "netpols", (int)kube->n_netpols, "own",
			 (int)kube->n_own, "partial", kube->partial);
}

static double worst; /* the longest work() */

static void print_state(struct sl_kube_source *source)
{
	json_t *json = sl_api_json(source);

	json_object_set_new(json, "version", json_integer((json_int_t)source->version));
	json_object_set_new(json, "counts", counts(source->ops->objects(source)));
	json_object_set_new(json, "rss_kb", json_integer(peak_kb()));
	json_object_set_new(json, "heap_kb", json_integer((json_int_t)(mallinfo2().uordblks / 1024)));
	json_object_set_new(json, "cpu_s", json_real(seconds(CLOCK_PROCESS_CPUTIME_ID)));
	json_object_set_new(json, "worst_ms", json_real(worst * 1000));
	print(json);
}

static void print_policy(struct sl_kube_source *source, const char *namespace, const char *name)
{
	struct sl_kube *kube = source->ops->objects(source);
	struct sl_diag diag = {}, *own = kube ? kube->diag : NULL;
	struct sl_policy *policy;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (kube)
		kube->diag = &diag;
	if (!kube) {
		fputs("not known yet", out);
	} else if (sl_kube_policy(kube, namespace, name, &policy)) {
		sl_diag_print(&diag, out);
	} else {
		sl_policy_print(policy, out);
		sl_policy_free(policy);
	}
	fclose(out);
	if (kube)
		kube->diag = own;
	sl_diag_free(&diag);
	print(json_pack("{s:s}", "policy", text));
	free(text);
}

/* ---- what became of pods ---- */

static struct {
	char uid[64], why[256];
} fates[64];
static size_t n_fates;

static enum sl_kube_fate fate_of(void *context, const char *uid, const char **why)
{
	(void)context;
	for (size_t i = 0; i < n_fates; i++)
		if (!strcmp(fates[i].uid, uid)) {
			*why = fates[i].why;
			return !*fates[i].why ? SL_FATE_UNTOLD : strcmp(fates[i].why, "ok") ?
				SL_FATE_REFUSED : SL_FATE_IN_FORCE;
		}
	return SL_FATE_UNKNOWN;
}

static void set_fate(const char *uid, const char *why)
{
	size_t i = 0;

	while (i < n_fates && strcmp(fates[i].uid, uid))
		i++;
	if (i == sizeof(fates) / sizeof(*fates))
		return;
	n_fates += i == n_fates;
	snprintf(fates[i].uid, sizeof(fates[i].uid), "%.63s", uid);
	snprintf(fates[i].why, sizeof(fates[i].why), "%.255s", why);
}

static bool command(struct sl_kube_source *source)
{
	static char line[4096];
	char namespace[256], name[256];
	int at_why;
	ssize_t n = read(0, line, sizeof(line) - 1);

	if (n <= 0)
		return false;
	line[n] = '\0';
	for (char *at = strtok(line, "\n"); at; at = strtok(NULL, "\n"))
		if (sscanf(at, "policy %255s %255s", namespace, name) == 2)
			print_policy(source, namespace, name);
		else if (sscanf(at, "fate %255s %n", name, &at_why) == 1)
			set_fate(name, at + at_why);
		else
			print_state(source);
	return true;
}

static void work(struct sl_kube_source *source)
{
	double began = seconds(CLOCK_THREAD_CPUTIME_ID), took;

	source->ops->work(source);
	took = seconds(CLOCK_THREAD_CPUTIME_ID) - began;
	if (took > worst)
		worst = took;
}

int main(int argc, char **argv)
{
	struct sl_api_config config = {};
	struct sl_kube_source *source;
	struct sl_diag diag = {};
	struct pollfd polled[2] = {{.fd = 0, .events = POLLIN}, {.events = POLLIN}};
	__u64 version = 0;
	__s64 stale = 0;
	char why[256] = "";

	if (argc < 5)
		return 2;
	config = (struct sl_api_config){.server = argv[1], .ca = argv[2], .token = argv[3],
					.node = argv[4],
					.page = argc > 5 ? (unsigned)atoi(argv[5]) : 0};
	if (sl_api_open(&config, &source, &diag)) {
		sl_diag_print(&diag, stderr);
		sl_diag_free(&diag);
		return 1;
	}
	source->fate = fate_of;
	polled[1].fd = source->ops->fd(source);
	while (!polled[0].revents || command(source)) {
		work(source);
		if (version != source->version || !stale != !source->stale_since_s ||
		    strcmp(why, source->why))
			print_state(source);
		version = source->version;
		stale = source->stale_since_s;
		memcpy(why, source->why, sizeof(why));
		poll(polled, 2, source->ops->timeout(source));
	}
	source->ops->free(source);
	sl_diag_free(&diag);
	return 0;
}
