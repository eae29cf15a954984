// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice rules --dev, --cgroup: what each rule of a target has decided and carried. */
#include <errno.h>
#include <string.h>

#include "control.h"
#include "daemon/view.h"
#include "hits.h"
#include "output.h"
#include "pins.h"

static void print_row(const json_t *row, bool json)
{
	const char *rule = json_string_value(json_object_get(row, "rule"));
	const char *last = json_string_value(json_object_get(row, "last"));
	const json_t *bytes = json_object_get(row, "bytes");

	if (json)
		sl_json_print(json_incref((json_t *)row));
	else
		printf("%10lld  %12lld  %12lld  %-20s  %-28s  %s\n",
		       (long long)json_integer_value(json_object_get(row, "count")),
		       (long long)json_integer_value(json_object_get(bytes, "out")),
		       (long long)json_integer_value(json_object_get(bytes, "in")),
		       last ? last : "never",
		       rule ? rule : json_is_true(json_object_get(row, "old")) ?
		       "(a rule of an older policy)" : "(no rule)",
		       json_string_value(json_object_get(row, "reason")));
}

/* Rules alone: that a reason did not occur is nothing to clear up. */
static bool is_unused(const json_t *row, __s64 seconds)
{
	const json_t *idle = json_object_get(row, "idle_s");

	return json_is_string(json_object_get(row, "rule")) &&
	       (json_is_null(idle) || json_integer_value(idle) >= seconds);
}

/* Counters begin with the target: what was not seen for longer than that is not known. */
static void print_rules(const json_t *answer, __s64 unused_s, bool json)
{
	const char *since = json_string_value(json_object_get(answer, "since"));
	const json_t *row;
	size_t i;

	if (!json && unused_s)
		printf("counted since %s\n", since ? since : "?");
	if (!json)
		printf("%10s  %12s  %12s  %-20s  %-28s  %s\n", "DECISIONS", "BYTES OUT",
		       "BYTES IN", "LAST", "RULE", "REASON");
	json_array_foreach(json_object_get(answer, "rules"), i, row)
		if (!unused_s || is_unused(row, unused_s))
			print_row(row, json);
}

/* From the pins; NULL: said. */
static json_t *read_pins(const char *name, bool is_cgroup)
{
	struct sl_target target;
	struct sl_state *state;
	struct sl_diag diag = {};
	int status = sl_pins_open(false, &state), err = -ENOENT;
	json_t *rows = NULL;
	char since[40];
	__u32 slot;

	if (status > 0)
		return NULL;
	if (!status) {
		sl_state_sweep(state);
		err = sl_view_find(state, name, is_cgroup, &slot, &target, &diag);
		if (!err)
			rows = sl_view_rules(state, slot, &err);
		sl_state_close(state);
	}
	if (err == -ENOENT && !diag.n_errors)
		sl_error(&diag, NULL, "%s '%s' has no policy (`sluice status` lists those that "
			 "have one)", is_cgroup ? "cgroup" : "device", name);
	else if (err && !diag.n_errors)
		sl_error(&diag, NULL, "%s: %s", name, strerror(-err));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return rows ? json_pack("{s:o, s:s}", "rules", rows, "since",
				sl_view_boot_time(target.since_ns, since)) : NULL;
}

int sl_hits_show(const char *name, bool is_cgroup, __s64 unused_s, bool json)
{
	struct sl_control *control;
	int found = sl_control_find(false, &control);
	json_t *answer, *target;

	if (found > 0)
		return found;
	target = found ? NULL : sl_control_target(is_cgroup, name);
	answer = found	? read_pins(name, is_cgroup) :
		 target ? sl_control_get(control, "rules", target) :
			  NULL;
	if (!found)
		sl_control_close(control);
	if (!answer)
		return SL_EXIT_FAILED;
	print_rules(answer, unused_s, json);
	json_decref(answer);
	return SL_EXIT_OK;
}
