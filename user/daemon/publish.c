// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Streams of records: `sluice monitor`. */
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "daemon.h"
#include "server.h"

#define OUT_STREAM (1u << 20) /* bytes that a slow reader may be behind */

size_t sl_control_server_readers(struct sl_control_server *server)
{
	size_t n = 0;

	for (struct sl_caller *c = sl_control_server_first(server); c; c = c->next)
		n += c->stream.on;
	return n;
}

void sl_caller_stream_tell_lost(struct sl_caller *c)
{
	char time[40];
	json_t *record = json_pack("{s:s, s:s, s:o, s:s}", "event", "lost", "time",
				   sl_daemon_time(time), "count", sl_json_number(c->stream.lost),
				   "why", "this reader was too slow");

	c->stream.lost = 0;
	sl_caller_send(c, record);
}

static void give(struct sl_caller *c, const char *line, size_t len)
{
	if (c->stream.lost || sl_caller_waiting(c) + len > OUT_STREAM)
		c->stream.lost++;
	else
		sl_caller_put(c, line, len);
}

void sl_control_server_publish(struct sl_control_server *server, uid_t owner, json_t *record)
{
	char *line = NULL;
	size_t len = 0;

	for (struct sl_caller *c = sl_control_server_first(server); c; c = c->next) {
		if (!c->stream.on || (!sl_caller_is_root(c) && c->uid != owner) ||
		    !sl_filter_wants(&c->stream.filter, record))
			continue;
		if (!line) {
			line = json_dumps(record, JSON_COMPACT);
			if (!line)
				return;
			len = strlen(line);
			line[len] = '\n';
		}
		give(c, line, len + 1);
	}
	free(line);
}

void sl_control_server_publish_event(struct sl_control_server *server, uid_t owner,
				     const struct sl_audit_names *names,
				     const struct sl_event *event, __u64 count, __u64 sequence)
{
	json_t *record = sl_event_json(names, event, count, sequence);

	if (record)
		sl_control_server_publish(server, owner, record);
	json_decref(record);
}

/* A list of texts, or nothing; *out is a reference. */
static bool take_list(struct sl_caller *c, const json_t *request, const char *key, json_t **out)
{
	json_t *list = json_object_get(request, key), *item;
	size_t i;

	if (list && !json_is_array(list)) {
		sl_answer_error(c, "request", "\"%s\" wants a list of texts", key);
		return false;
	}
	json_array_foreach(list, i, item) if (!json_is_string(item) || i >= SL_FILTER_MAX)
	{
		sl_answer_error(c, "request", "\"%s\" wants a list of at most %d texts", key,
				SL_FILTER_MAX);
		return false;
	}
	*out = json_incref(list);
	return true;
}

void sl_op_monitor(struct sl_caller *c, const json_t *request)
{
	struct sl_filter f = {};

	if (take_list(c, request, "targets", &f.targets) &&
	    take_list(c, request, "verdicts", &f.verdicts) &&
	    take_list(c, request, "rules", &f.rules) && take_list(c, request, "names", &f.names)) {
		sl_filter_free(&c->stream.filter);
		c->stream = (struct sl_caller_stream){.on = true, .filter = f};
		sl_answer(c, json_object());
	} else {
		sl_filter_free(&f);
	}
}
