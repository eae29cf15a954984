// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The client as status and metrics show it. */
#include <time.h>

#include "internal.h"

/* ---- status ---- */

static json_t *time_json(__s64 seconds)
{
	char text[32];
	struct tm tm;
	time_t t = (time_t)seconds;

	if (!seconds || !gmtime_r(&t, &tm))
		return json_null();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static json_t *failures_json(const struct sl_api_state *state)
{
	json_t *failures = json_object();

	for (unsigned i = 1; i < SL_API_TROUBLES; i++)
		if (state->failures[i])
			json_object_set_new(failures, sl_api_trouble_words[i],
					    json_integer((json_int_t)state->failures[i]));
	return failures;
}

static json_t *kind_json(const struct sl_api *api, const struct sl_follow *f)
{
	static const char *const states[] = {[SL_FOLLOW_WAIT] = "waits",
					     [SL_FOLLOW_LIST] = "lists",
					     [SL_FOLLOW_WATCH] = "watches"};
	enum sl_kube_kind kind = f->what->kind;
	bool asked = f->state == SL_FOLLOW_WATCH && !f->request.answered;

	return json_pack("{s:s, s:s, s:b, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:s?, s:o}",
			 "kind", f->what->plural, "state", asked ? "asks" : states[f->state], "synced", f->synced,
			 "objects", (int)sl_store_count(api->store, kind), "unreadable",
			 (int)sl_store_unreadable(api->store, kind), "events",
			 (json_int_t)f->events, "lists", (json_int_t)f->lists, "expired",
			 (json_int_t)f->expired, "bookmarks", (json_int_t)f->bookmarks,
			 "failing_since", time_json(f->trouble.since_s), "why",
			 *f->trouble.why ? f->trouble.why : NULL, "failures",
			 failures_json(&f->trouble));
}

const char *sl_api_node(const struct sl_kube_source *source)
{
	return ((const struct sl_api *)source)->node;
}

json_t *sl_api_json(const struct sl_kube_source *source)
{
	const struct sl_api *api = (const struct sl_api *)source;
	json_t *kinds = json_array();

	for (unsigned i = 0; i < SL_KUBE_KINDS; i++)
		if (api->follows[i].wanted && !api->follows[i].absent)
			json_array_append_new(kinds, kind_json(api, &api->follows[i]));
	return json_pack("{s:s, s:s, s:b, s:b, s:o, s:s?, s:I, s:s?, s:o, s:o, s:o}", "server",
			 api->account.server, "node", api->node, "complete", api->complete,
			 "all_pods", !api->follows[SL_KUBE_POD].node_only, "stale_since",
			 time_json(source->stale_since_s), "why", *source->why ? source->why : NULL,
			 "token_rotations", (json_int_t)api->account.rotations, "token_error",
			 *api->account.why ? api->account.why : NULL, "discovery",
			 failures_json(&api->discovery.trouble), "status", sl_report_json(api), "kinds",
			 kinds);
}

/* ---- metrics ---- */

static void add_failures(const struct sl_api_state *state, struct sl_api_numbers *out)
{
	for (unsigned i = 1; i < SL_API_TROUBLES; i++)
		out->failures[i] = state->failures[i];
}

size_t sl_api_numbers(const struct sl_kube_source *source,
		      struct sl_api_numbers out[SL_API_NUMBERS])
{
	const struct sl_api *api = (const struct sl_api *)source;
	size_t n = 0;

	for (unsigned i = 0; i < SL_KUBE_KINDS; i++) {
		const struct sl_follow *f = &api->follows[i];

		if (!f->wanted || f->absent)
			continue;
		out[n] = (struct sl_api_numbers){
			.kind = f->what->plural, .followed = true,
			.objects = sl_store_count(api->store, i),
			.unreadable = sl_store_unreadable(api->store, i),
			.events = f->events, .lists = f->lists, .expired = f->expired,
		};
		add_failures(&f->trouble, &out[n++]);
	}
	out[n] = (struct sl_api_numbers){.kind = "apis"};
	add_failures(&api->discovery.trouble, &out[n++]);
	out[n] = (struct sl_api_numbers){.kind = "status"};
	sl_report_numbers(api, &out[n++]);
	return n;
}
