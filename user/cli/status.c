// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice status: what is attached, and what it decided. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "pins.h"
#include "resolve/lookup.h"
#include "target/device.h"

struct status {
	struct sl_state *state;
	bool names; /* some policy has rules by name */
	json_t *targets, *warnings;
};

static json_t *leased_json(const struct sl_target_view *v)
{
	__be32 address = htobe32(v->leased);
	char text[INET_ADDRSTRLEN], until[40];

	if (!v->leased)
		return json_null();
	inet_ntop(AF_INET, &address, text, sizeof(text));
	return json_pack("{s:s, s:s}", "address", text, "until",
			 sl_boot_time_text(v->leased_until_ns, until));
}

/* What changes without a new generation. */
static void add_now(json_t *j, const struct sl_target_view *v, __u32 unjudged)
{
	json_object_set_new(j, "here", json_boolean(v->here));
	json_object_set_new(j, "preceding",
			    v->preceding ? sl_json_number(v->preceding) : json_null());
	json_object_set_new(j, "attached_as",
			    sl_json_text(*v->attached_as ? v->attached_as : NULL));
	json_object_set_new(j, "leased", leased_json(v));
	json_object_set_new(j, "unjudged", sl_json_number(unjudged));
}

static json_t *binding_json(const struct sl_binding_spec *b)
{
	json_t *addresses = json_array(), *vlans = json_array();
	char text[SL_CIDR_TEXT], mac[SL_MAC_TEXT];
	size_t i;

	for (i = 0; i < b->n_addresses; i++)
		json_array_append_new(addresses,
				      json_string(sl_cidr_format(&b->addresses[i], text)));
	for (i = 0; i < b->n_vlans; i++)
		json_array_append_new(vlans, json_integer(b->vlans[i]));
	return json_pack("{s:s?, s:o, s:b, s:o}", "mac",
			 b->has_mac ? sl_mac_format(b->mac, mac) : NULL, "addresses",
			 b->has_addresses ? addresses : (json_decref(addresses), json_null()),
			 "lease", b->lease, "vlans", vlans);
}

static void add_numbers(json_t *j, const struct sl_target_view *v)
{
	const struct {
		const char *name;
		__u64 value;
	} numbers[] = {
		{"decided", v->stats.decided},	       {"allowed", v->stats.allowed},
		{"denied", v->stats.denied},	       {"audit_denied", v->stats.audit_denied},
		{"submitted", v->stats.submitted},     {"suppressed", v->stats.suppressed},
		{"over_budget", v->stats.over_budget}, {"lost", v->stats.lost},
		{"tx_bytes", v->meter.tx_bytes},       {"tx_frames", v->meter.tx_frames},
		{"rx_bytes", v->meter.rx_bytes},       {"rx_frames", v->meter.rx_frames},
		{"tx_denied", v->meter.tx_denied},     {"rx_denied", v->meter.rx_denied},
	};
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		json_object_set_new(j, numbers[i].name, sl_json_number(numbers[i].value));
}

static void warn(struct status *s, const char *name, const char *what)
{
	json_array_append_new(s->warnings, json_sprintf("%s: %s", name, what));
}

/* What all targets have. */
static json_t *common_json(const struct sl_target_view *v, const struct sl_table *table,
			   const char *kind, const char *name)
{
	char since[40];

	return json_pack("{s:s, s:o, s:o, s:i, s:s?, s:o, s:s, s:s, s:b}", "kind", kind, "name",
			 sl_json_text(name), "netns", sl_json_number(v->target.netns), "slot",
			 (int)v->slot, "policy",
			 table->words ? sl_table_label(table->words, table->n_words, 0) : NULL,
			 "generation", sl_json_number(v->generation),
			 "mode", v->flags & SL_F_AUDIT ? "audit" : "enforce", "since",
			 sl_boot_time_text(v->target.since_ns, since), "attached", v->attached);
}

static void add_device(json_t *j, const struct sl_target_view *v, const struct sl_table *table,
		       __u32 unjudged)
{
	const struct sl_target *t = &v->target;
	struct sl_binding_spec binding = {};

	if (table->words)
		sl_binding_of_table(table, &binding);
	json_object_set_new(j, "ifindex", json_integer(t->ifindex));
	json_object_set_new(j, "via", json_string(t->flags & SL_TARGET_TCX ? "tcx" : "clsact"));
	json_object_set_new(j, "binding", binding_json(&binding));
	add_now(j, v, unjudged);
}

/* Of one that has been removed only its sockets are left. */
static void add_cgroup(json_t *j, const struct sl_target *t, bool removed)
{
	const struct sl_target at = {.cgroup_id = t->point};
	char *point = sl_state_cgroup_path(&at);

	json_object_set_new(j, "cgroup", sl_json_number(t->cgroup_id));
	json_object_set_new(j, "removed", json_boolean(removed));
	json_object_set_new(j, "via", sl_json_text(point));
	free(point);
}

static void add_warnings(struct status *s, const struct sl_target_view *v, const char *name,
			 __u32 unjudged)
{
	if (!v->attached && v->target.kind == SL_TARGET_CGROUP)
		warn(s, name, "a program of it has been taken off: `sluice attach` puts it back");
	if (!v->generation)
		warn(s, name, "no generation is in force: everything is denied");
	if (v->preceding)
		warn(s, name, "a tcx program of somebody else's stands before ours (`bpftool "
		     "net`): what it passes or drops is not judged; detach and attach puts ours "
		     "first");
	if (unjudged)
		warn(s, name, "it has received frames that our programs never saw (\"unjudged\" of -o "
		     "json): who is behind it may go past tc, which root of a container can "
		     "(docs/SECURITY.md)");
	if (v->stats.lost)
		warn(s, name, "events were lost: nothing drains them (`sluice monitor`)");
}

static void add_target(void *context, const struct sl_target_view *v)
{
	bool is_cgroup = v->target.kind == SL_TARGET_CGROUP;
	char *path = is_cgroup ? sl_state_cgroup_path(&v->target) : NULL;
	char *name = sl_escaped(path ? path : v->target.name);
	struct sl_table table = {};
	struct status *s = context;
	__u32 unjudged = is_cgroup ? 0 : sl_state_unjudged(s->state, v);
	json_t *j;

	sl_state_table(s->state, v->slot, &table);
	j = common_json(v, &table, is_cgroup ? "cgroup" : "device",
			path ? path : v->target.name);
	if (j && is_cgroup)
		add_cgroup(j, &v->target, !path);
	else if (j)
		add_device(j, v, &table, unjudged);
	if (j)
		add_numbers(j, v);
	json_array_append_new(s->targets, j);
	add_warnings(s, v, name ? name : "?", unjudged);
	free(table.words);
	s->names |= v->flags & SL_F_NAMES;
	free(name);
	free(path);
}

/* A workload that shares this machine's /etc and /run, as a container may, can have names
 * resolved without a DNS packet of its own. */
static void warn_of_lookups(struct status *s)
{
	struct sl_lookup lookup;
	char others[256];

	sl_lookup_read(&lookup);
	if (s->names && sl_lookup_others(&lookup, others, sizeof(others))[0])
		json_array_append_new(
			s->warnings, json_sprintf("names are also looked up without DNS here (%s): "
						  "a workload that may use that is not judged by "
						  "name (`sluice doctor`)",
						  others));
}

/* Its device is there, but not judged any more. It is said once, and then forgotten. */
static void warn_if_taken_off(void *context, const struct sl_target_view *v)
{
	const struct sl_target *t = &v->target;
	char name[IF_NAMESIZE];

	if (v->here && !v->attached && (t->flags & SL_TARGET_LIVE) &&
	    if_indextoname(t->ifindex, name) && !strcmp(name, t->name))
		warn(context, t->name, "nothing judges its frames: somebody took the programs off, "
		     "or made the device anew; `sluice attach` attaches them again");
}

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

/* What is not so with most of them. */
static void print_more(const json_t *j)
{
	const json_t *leased = json_object_get(j, "leased");

	if (json_is_string(json_object_get(j, "attached_as"))) {
		fputs("  was attached as ", stdout);
		sl_put_text(text_of(j, "attached_as"), stdout);
		putchar('\n');
	}
	if (json_is_false(json_object_get(j, "here")))
		printf("  in another network namespace (cookie %llu)\n", number_of(j, "netns"));
	if (json_is_object(leased))
		printf("  leased %s until %s\n", text_of(leased, "address"), text_of(leased, "until"));
}

/* Of a cgroup it is a path, which may hold anything. */
static char *name_of(const json_t *target)
{
	return sl_escaped(text_of(target, "name"));
}

static int name_width(const json_t *targets)
{
	int width = 15, n;
	char *name;
	size_t i;

	for (i = 0; i < json_array_size(targets); i++) {
		name = name_of(json_array_get(targets, i));
		n = name ? (int)strlen(name) : 0;
		width = n > width ? n : width;
		free(name);
	}
	return width;
}

static void print_text(const struct status *s)
{
	int width = name_width(s->targets);
	char *name;
	json_t *j;
	size_t i;

	if (!json_array_size(s->targets))
		puts("nothing is attached");
	else
		printf("%-*s %-20s %4s %-7s %-20s %9s %9s %7s %12s %12s\n", width, "TARGET", "POLICY",
		       "GEN", "MODE", "SINCE", "ALLOWED", "BLOCKED", "LOST", "TX BYTES",
		       "RX BYTES");
	for (i = 0; (j = json_array_get(s->targets, i)); i++) {
		name = name_of(j);
		printf("%-*s %-20s %4llu %-7s %-20s %9llu %9llu %7llu %12llu %12llu\n",
		       width, name ? name : "?", text_of(j, "policy"), number_of(j, "generation"),
		       text_of(j, "mode"), text_of(j, "since"), number_of(j, "allowed"),
		       number_of(j, "denied") + number_of(j, "audit_denied"),
		       number_of(j, "lost"), number_of(j, "tx_bytes"), number_of(j, "rx_bytes"));
		free(name);
		print_more(j);
	}
	for (i = 0; (j = json_array_get(s->warnings, i)); i++)
		printf("warning: %s\n", json_string_value(j));
}

static int show(bool json)
{
	struct status s = {.targets = json_array(), .warnings = json_array()};
	int status = sl_pins_open(false, &s.state);

	if (status && status != -ENOENT) {
		json_decref(s.targets);
		json_decref(s.warnings);
		return status;
	}
	if (!status) {
		sl_state_targets(s.state, warn_if_taken_off, &s);
		sl_state_sweep(s.state);
		status = sl_state_targets(s.state, add_target, &s) ? SL_EXIT_FAILED : SL_EXIT_OK;
		sl_state_close(s.state);
		warn_of_lookups(&s);
	} else {
		status = SL_EXIT_OK;
	}
	if (!json)
		print_text(&s);
	else
		sl_json_print(
			json_pack("{s:O, s:O}", "targets", s.targets, "warnings", s.warnings));
	json_decref(s.targets);
	json_decref(s.warnings);
	return status;
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
