// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice status: what is attached, and what it decided. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "daemon/view.h"
#include "output.h"
#include "pins.h"
#include "status.h"

/* ---- text ---- */

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : "?";
}

static unsigned long long number_of(const json_t *j, const char *key)
{
	return (unsigned long long)json_integer_value(json_object_get(j, key));
}

static void print_daemon(const json_t *d)
{
	const json_t *config = json_object_get(d, "config");

	if (!d)
		return;
	printf("sluiced %s, pid %llu, since %s", text_of(d, "version"), number_of(d, "pid"),
	       text_of(d, "since"));
	if (!config) { /* who is not root sees his own runs */
		puts("; your runs:");
		return;
	}
	printf("; %s, %s", text_of(config, "path"),
	       json_is_true(json_object_get(config, "ok")) ? "in force" : "NOT in force");
	if (json_is_string(json_object_get(config, "reading")))
		printf("; being read again since %s", text_of(config, "reading"));
	putchar('\n');
}

/* What is not so with most of them. */
static void print_more(const json_t *j)
{
	const json_t *leased = json_object_get(j, "leased");

	if (json_is_string(json_object_get(j, "attached_as"))) {
		fputs("  was attached as ", stdout);
		sl_put_text(text_of(j, "attached_as"), stdout);
		putchar('\n');
	}
	if (json_is_string(json_object_get(j, "container"))) {
		fputs("  container ", stdout);
		sl_put_text(text_of(j, "container"), stdout);
		putchar('\n');
	}
	if (json_is_false(json_object_get(j, "here")))
		printf("  in another network namespace (cookie %llu)\n", number_of(j, "netns"));
	if (json_is_object(leased))
		printf("  leased %s until %s\n", text_of(leased, "address"), text_of(leased, "until"));
}

#define NAME_COLUMNS_MAX 60

/* Of a cgroup it is a path, which may hold anything. */
static char *name_of(const json_t *target)
{
	return sl_escaped(text_of(target, "name"));
}

/* One that is longer moves its own row alone: who made a cgroup chose its name. */
static int name_width(const json_t *targets)
{
	int width = 15, n;
	char *name;
	size_t i;

	for (i = 0; i < json_array_size(targets); i++) {
		name = name_of(json_array_get(targets, i));
		n = name ? (int)strlen(name) : 0;
		width = n > width && n <= NAME_COLUMNS_MAX ? n : width;
		free(name);
	}
	return width;
}

bool sl_status_is_ready_run(const json_t *target)
{
	const char *state = json_string_value(
		json_object_get(json_object_get(target, "run"), "state"));

	return state && !strcmp(state, "ready");
}

static void print_ready_runs(size_t n)
{
	if (n)
		printf("%zu cgroup%s kept ready for runs (-o json lists them)\n", n,
		       n == 1 ? " is" : "s are");
}

static void print_targets(const json_t *targets)
{
	int width = name_width(targets);
	size_t i, ready = 0;
	const json_t *j;
	char *name;

	if (!json_array_size(targets)) {
		puts("nothing is attached");
		return;
	}
	printf("%-*s %-20s %4s %-7s %-20s %9s %9s %7s %12s %12s\n", width, "TARGET", "POLICY", "GEN",
	       "MODE", "SINCE", "ALLOWED", "BLOCKED", "LOST", "TX BYTES", "RX BYTES");
	json_array_foreach(targets, i, j) {
		if (sl_status_is_ready_run(j)) {
			ready++;
			continue;
		}
		name = name_of(j);
		printf("%-*s %-20s %4llu %-7s %-20s %9llu %9llu %7llu %12llu %12llu\n", width,
		       name ? name : "?",
		       json_is_false(json_object_get(j, "whole")) ? "REFUSED" : text_of(j, "policy"),
		       number_of(j, "generation"), text_of(j, "mode"), text_of(j, "since"),
		       number_of(j, "allowed"), number_of(j, "denied") + number_of(j, "audit_denied"),
		       number_of(j, "lost"), number_of(j, "tx_bytes"), number_of(j, "rx_bytes"));
		free(name);
		print_more(j);
	}
	print_ready_runs(ready);
}

static void print_text(const json_t *status)
{
	const json_t *j;
	size_t i;

	print_daemon(json_object_get(status, "daemon"));
	print_targets(json_object_get(status, "targets"));
	json_array_foreach(json_object_get(status, "warnings"), i, j) {
		fputs("warning: ", stdout);
		sl_put_text(json_string_value(j), stdout);
		putchar('\n');
	}
}

/* From the pins; NULL: said. */
static json_t *read_pins(const char *command)
{
	json_t *targets = json_array(), *warnings = json_array();
	struct sl_state *state;
	int status = sl_pins_open(false, &state), err = 0;

	if (!status) {
		sl_state_sweep(state);
		err = sl_view_targets(state, targets, warnings);
		sl_state_close(state);
	}
	if ((status && status != -ENOENT) || err) {
		if (err)
			fprintf(stderr, "sluice %s: %s: %s\n", command, sl_pins_path(),
				strerror(-err));
		json_decref(targets);
		json_decref(warnings);
		return NULL;
	}
	return json_pack("{s:o, s:o}", "targets", targets, "warnings", warnings);
}

/* The protocol's own words are no part of it. */
static json_t *ask(struct sl_control *control)
{
	json_t *status = sl_control_get(control, "status", NULL);

	json_object_del(status, "sluice");
	json_object_del(status, "ok");
	return status;
}

json_t *sl_status_get(const char *command)
{
	struct sl_control *control;
	int found = sl_control_find(false, &control);
	json_t *status;

	if (found > 0)
		return NULL;
	if (found)
		return read_pins(command);
	status = ask(control);
	sl_control_close(control);
	return status;
}

static int show(bool json)
{
	json_t *status = sl_status_get("status");

	if (!status)
		return SL_EXIT_FAILED;
	if (!json)
		print_text(status);
	else
		sl_json_print(json_incref(status));
	json_decref(status);
	return SL_EXIT_OK;
}

static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_status(int argc, char **argv)
{
	bool json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("status");
		if (c != 'o')
			return sl_option_wrong("status", c, argv);
		if (!sl_output_option(optarg, &json))
			return sl_usage("status", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("status", "what is '%s'?", argv[optind]);
	return sl_output_done("status", show(json));
}
