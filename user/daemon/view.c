// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Targets as `sluice status` shows them, whoever asks. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit/json.h"
#include "resolve/lookup.h"
#include "pod_cgroup.h"
#include "target/powers.h"
#include "view.h"

const char *sl_view_time(__s64 seconds, char buf[40])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, 40, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}

const char *sl_view_boot_time(__u64 boot_ns, char buf[40])
{
	return sl_view_time((sl_boot_epoch_ns() + (__s64)boot_ns) / 1000000000, buf);
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
		{"unlearned", v->stats.unlearned},
		{"closes", v->stats.closes},	       {"closes_lost", v->stats.closes_lost},
		{"tx_bytes", v->meter.tx_bytes},       {"tx_frames", v->meter.tx_frames},
		{"rx_bytes", v->meter.rx_bytes},       {"rx_frames", v->meter.rx_frames},
		{"tx_denied", v->meter.tx_denied},     {"rx_denied", v->meter.rx_denied},
	};
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		json_object_set_new(j, numbers[i].name, sl_json_number(numbers[i].value));
}

/* What all targets have. */
static json_t *common_json(const struct sl_target_view *v, const struct sl_table *table,
			   const char *kind, const char *name)
{
	char since[40];

	return json_pack(
		"{s:s, s:o, s:o, s:i, s:o, s:o, s:s, s:s, s:b, s:b, s:b}", "kind", kind, "name",
		sl_json_text(name), "netns", sl_json_number(v->target.netns), "slot", (int)v->slot,
		"policy",
		sl_json_text(table->words ? sl_table_label(table->words, table->n_words, 0) : NULL),
		"generation", sl_json_number(v->generation), "mode",
		v->flags & SL_F_AUDIT ? "audit" : "enforce", "since",
		sl_view_boot_time(v->target.since_ns, since), "attached", v->attached, "whole",
		!v->broken, "managed", !!(v->flags & SL_F_MANAGED));
}

static json_t *leased_json(const struct sl_target_view *v)
{
	__be32 address = htobe32(v->leased);
	char text[INET_ADDRSTRLEN], until[40];

	if (!v->leased)
		return json_null();
	inet_ntop(AF_INET, &address, text, sizeof(text));
	return json_pack("{s:s, s:s}", "address", text, "until",
			 sl_view_boot_time(v->leased_until_ns, until));
}

/* What changes without a new generation. */
static void add_now(json_t *j, const struct sl_target_view *v, __u32 unjudged)
{
	json_object_set_new(j, "here", json_boolean(v->here));
	json_object_set_new(j, "preceding",
			    v->preceding ? sl_json_number(v->preceding) : json_null());
	json_object_set_new(j, "unjudged", sl_json_number(unjudged));
	json_object_set_new(j, "peer",
			    v->peer == SL_PEER_UNKNOWN ? json_null() :
			    json_string(v->peer == SL_PEER_GUARDED ? "guarded" : "open"));
	json_object_set_new(j, "attached_as",
			    sl_json_text(*v->attached_as ? v->attached_as : NULL));
	json_object_set_new(j, "leased", leased_json(v));
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

struct viewing {
	struct sl_state *state;
	json_t *targets, *warnings;
	bool names; /* some policy has rules by name */
};

static void warn(json_t *warnings, const char *name, const char *what)
{
	json_array_append_new(warnings, json_sprintf("%s: %s", name, what));
}

static void add_warnings(json_t *warnings, const struct sl_target_view *v, const char *name,
			 __u32 unjudged)
{
	if (v->broken)
		warn(warnings, name,
		     "REFUSED: what is pinned for it is no table of ours, of "
		     "another generation than it should be, or can be written");
	else if (!v->generation)
		warn(warnings, name, "no generation is in force: everything is denied");
	if (v->moved)
		warn(warnings, name,
		     "it was moved to another network namespace: all of its frames are dropped; `sluice "
		     "detach --dev` where it was takes that off, `sluice attach` where it is judges "
		     "it there");
	else if (!v->attached)
		warn(warnings, name,
		     "NOT ENFORCED: a program of it has been taken off: `sluice attach` puts it back, "
		     "`sluice detach` forgets it");
	if (v->preceding)
		warn(warnings, name,
		     "a tcx program of somebody else's stands before ours (`bpftool net`): what it "
		     "passes or drops is not judged; detach and attach puts ours first");
	if (v->peer == SL_PEER_OPEN)
		warn(warnings, name,
		     SL_VIEW_PEER_OPEN ": who has CAP_NET_ADMIN there can send past "
		     "this policy (docs/SECURITY.md says when, and what helps)");
	if (unjudged)
		warn(warnings, name,
		     "it has received frames that our programs never saw (\"unjudged\" of -o json): "
		     "who is behind it may go past tc, which root of a container can "
		     "(docs/SECURITY.md)");
	if (v->stats.lost)
		warn(warnings, name,
		     "events were lost: they came faster than they were drained "
		     "(`sluice monitor`)");
	if (v->stats.unlearned)
		warn(warnings, name,
		     "some addresses of allowed names are not learned: an answer had too many of "
		     "them, or an address too many names (\"unlearned\" of -o json; docs/names.md, "
		     "\"Answers\")");
	if (v->stats.uncounted)
		warn(warnings, name, "some decisions are not counted by rule: no room");
}

/* A policy with names believes a resolver that such a process can be itself. */
static void warn_of_powers(json_t *warnings, const char *path, const char *name)
{
	struct sl_powers has;
	bool admin, raw;

	sl_powers_look(path, sl_pod_is_monitor, SL_POWERS_NET, &has);
	admin = has.has & SL_POWER(CAP_NET_ADMIN);
	raw = has.has & SL_POWER(CAP_NET_RAW);
	if (has.pid)
		json_array_append_new(
			warnings,
			json_sprintf("%s: process %d has %s%s%s: it can send past the hooks of sockets, or "
				     "answer questions of its own and so reach any address at the ports "
				     "of a rule by name; take that from it, or judge its container's "
				     "veth, too (docs/SECURITY.md)",
				     name, has.pid, admin ? "CAP_NET_ADMIN" : "",
				     admin && raw ? " and " : "", raw ? "CAP_NET_RAW" : ""));
}

static void add_target(void *context, const struct sl_target_view *v)
{
	bool is_cgroup = v->target.kind == SL_TARGET_CGROUP;
	char *path = is_cgroup ? sl_state_cgroup_path(&v->target) : NULL;
	char *was = is_cgroup && !path ? sl_state_cgroup_name(&v->target) : NULL;
	const char *name = path ? path : was ? was : v->target.name;
	struct viewing *all = context;
	char *escaped = sl_escaped(name);
	struct sl_table table = {};
	__u32 unjudged = is_cgroup ? 0 : sl_state_unjudged(all->state, v);
	json_t *j;

	sl_state_table(all->state, v->slot, &table);
	j = common_json(v, &table, is_cgroup ? "cgroup" : "device", name);
	if (j && is_cgroup)
		add_cgroup(j, &v->target, !path);
	else if (j)
		add_device(j, v, &table, unjudged);
	if (j)
		add_numbers(j, v);
	json_array_append_new(all->targets, j);
	add_warnings(all->warnings, v, escaped ? escaped : "?", unjudged);
	if (path && (v->flags & SL_F_NAMES))
		warn_of_powers(all->warnings, path, escaped ? escaped : "?");
	all->names |= v->flags & SL_F_NAMES;
	free(table.words);
	free(escaped);
	free(was);
	free(path);
}

/* A workload that shares this machine's /etc and /run, as a container may, can have names
 * resolved without a DNS packet of its own. */
static void warn_of_lookups(json_t *warnings)
{
	struct sl_lookup lookup;
	char others[256];

	sl_lookup_read(&lookup);
	if (sl_lookup_others(&lookup, others, sizeof(others))[0])
		json_array_append_new(
			warnings, json_sprintf("names are also looked up without DNS here (%s): a "
					       "workload that may use that is not judged by name "
					       "(`sluice doctor`)",
					       others));
}

int sl_view_targets(struct sl_state *state, json_t *targets, json_t *warnings)
{
	struct viewing all = {state, targets, warnings, false};
	int err = sl_state_targets(state, add_target, &all);

	if (!err && all.names)
		warn_of_lookups(warnings);
	return err;
}

/* ---- one of them ---- */

struct wanted {
	const char *name; /* of a device */
	__u32 slot;
	bool found;
};

static void find(void *context, const struct sl_target_view *view)
{
	struct wanted *w = context;

	if (view->here && !strcmp(view->target.name, w->name) && view->attached) {
		w->slot = view->slot;
		w->found = true;
	}
}

static int find_cgroup(struct sl_state *state, const char *path, __u32 *slot, struct sl_diag *diag)
{
	struct sl_cgroup_target cgroup;
	int err = sl_cgroup_open_target(path, &cgroup, diag);

	if (err)
		return err;
	err = sl_state_find_cgroup(state, cgroup.id, slot);
	sl_cgroup_close_target(&cgroup);
	return err;
}

int sl_view_find(struct sl_state *state, const char *name, bool is_cgroup, __u32 *slot,
		 struct sl_target *target, struct sl_diag *diag)
{
	struct wanted w = {.name = name};
	int err;

	if (is_cgroup) {
		err = find_cgroup(state, name, &w.slot, diag);
	} else {
		err = sl_state_targets(state, find, &w);
		if (!err && !w.found)
			err = -ENOENT;
	}
	if (!err)
		err = sl_state_target(state, w.slot, target);
	if (!err)
		*slot = w.slot;
	return err;
}
