// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The conditions of an EgressPolicy: what its nodes say, summed up. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"

const json_t *sl_status_find(const json_t *list, const char *key, const char *value)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *its = json_string_value(json_object_get(item, key));

		if (its && !strcmp(its, value))
			return item;
	}
	return NULL;
}

void sl_status_add_up(const struct sl_api *api, const struct sl_stored *own,
		      struct sl_status_sum *sum)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(own->status, "nodes"), i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *state = json_string_value(json_object_get(item, "state"));
		const char *why = json_string_value(json_object_get(item, "message"));

		if (!name || !state)
			continue;
		sum->before += strcmp(name, api->node) < 0;
		sum->among = sum->among || !strcmp(name, api->node);
		if (json_integer_value(json_object_get(item, "observedGeneration")) != own->generation)
			continue; /* of an earlier text: the node will say, or is gone */
		sum->pods += json_integer_value(json_object_get(item, "pods"));
		if (!strcmp(state, "Enforced")) {
			sum->ok++;
			sum->partly = why ? why : sum->partly;
			continue;
		}
		sum->failed++;
		sum->name = name;
		sum->why = why ? why : "";
	}
}

static json_t *condition(const struct sl_stored *own, const char *type, bool is,
			 const char *reason, const char *message)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I}", "type", type, "status", is ? "True" : "False",
			 "reason", reason, "message", message, "observedGeneration",
			 own->generation);
}

static json_t *make(const struct sl_stored *own, const struct sl_status_sum *sum)
{
	char text[SL_STATUS_MESSAGE * 2], clean[SL_STATUS_MESSAGE * 2];
	const char *reason = "Enforced";
	bool is = sum->ok && !sum->failed && !own->error;

	snprintf(clean, sizeof(clean), "%s", own->error ? own->error : "it can be read");
	for (char *c = clean; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	snprintf(text, sizeof(text), "on %u nodes, %lld pods", sum->ok, (long long)sum->pods);
	if (own->error) {
		reason = "Invalid";
		snprintf(text, sizeof(text), "pods keep what they had: see Valid");
	} else if (sum->failed) {
		reason = "Failed";
		snprintf(text, sizeof(text), "not on %u of %u nodes; %.120s: %.300s", sum->failed,
			 sum->ok + sum->failed, sum->name, sum->why);
	} else if (!sum->ok) {
		reason = "NoPods";
		snprintf(text, sizeof(text), "it selects no pod that runs");
	} else if (sum->partly) {
		reason = "Partly";
		snprintf(text, sizeof(text), "on %u nodes, %lld pods; %.300s", sum->ok, (long long)sum->pods,
			 sum->partly);
	}
	return json_pack("[o, o]", condition(own, "Valid", !own->error,
					     own->error ? "Invalid" : "Read", clean),
			 condition(own, "Enforced", is, reason, text));
}

/* With the time since when the status is what it is. True: something else differs. */
static bool date(const struct sl_stored *own, json_t *conditions)
{
	const json_t *there = json_object_get(own->status, "conditions");
	bool news = false;
	char now[32];
	time_t t = time(NULL);
	struct tm tm;
	json_t *item;
	size_t i;

	strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	json_array_foreach(conditions, i, item) {
		const json_t *old = sl_status_find(there, "type",
					 json_string_value(json_object_get(item, "type")));
		json_t *since = json_object_get(old, "lastTransitionTime");
		bool same = json_equal(json_object_get(old, "status"), json_object_get(item, "status"));

		if (same && json_is_string(since))
			json_object_set(item, "lastTransitionTime", since);
		else
			json_object_set_new(item, "lastTransitionTime", json_string(now));
		news = news || !json_equal(item, old);
	}
	return news;
}

json_t *sl_status_conditions(const struct sl_stored *own, const struct sl_status_sum *sum,
			     bool *news)
{
	json_t *conditions = make(own, sum);

	*news = date(own, conditions);
	return conditions;
}
