// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A record as an event of the Open Cybersecurity Schema Framework, 1.3 (schema.ocsf.io):
 * connections are Network Activity (4001), questions DNS Activity (4003), all else the
 * Base Event (0). What the schema has no attribute for stands in `unmapped`.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "internal.h"

enum { NETWORK = 4, NETWORK_ACTIVITY = 4001, DNS_ACTIVITY = 4003 };
enum { OPEN = 1, CLOSE = 2, REFUSE = 5, TRAFFIC = 6, OTHER = 99, DNS_QUERY = 1 };
enum { ALLOWED = 1, DENIED = 2 };			/* action_id */
enum { DISPOSITION_ALLOWED = 1, DISPOSITION_BLOCKED = 2, DISPOSITION_LOGGED = 17 };

static void set_text(json_t *to, const char *key, const char *text)
{
	if (text)
		json_object_set_new(to, key, json_string(text));
}

static void set_copy(json_t *to, const char *key, json_t *value)
{
	if (value && !json_is_null(value))
		json_object_set(to, key, value);
}

/* RFC 3339 to milliseconds since the epoch. */
static json_int_t milliseconds(const char *time)
{
	struct tm tm = {};
	const char *end = time ? strptime(time, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	int ms = 0;

	if (!end)
		return 0;
	if (*end == '.')
		for (int i = 1; i <= 3; i++)
			ms = 10 * ms + (end[i] >= '0' && end[i] <= '9' ? end[i] - '0' : 0);
	return (json_int_t)timegm(&tm) * 1000 + ms;
}

static json_t *endpoint(const json_t *record, const char *which)
{
	const json_t *from = json_object_get(record, which);
	json_t *to = json_object();

	set_text(to, "ip", sl_record_text(from, "address"));
	set_copy(to, "port", json_object_get(from, "port"));
	set_text(to, "hostname", sl_record_text(from, "name"));
	if (json_object_size(to))
		return to;
	json_decref(to);
	return NULL;
}

/* One of the two is required: of a frame without addresses, of a socket that was not made. */
static json_t *workload(const json_t *record)
{
	json_t *to = json_object();

	set_text(to, "name", sl_record_text(json_object_get(record, "target"), "name") ?: "unknown");
	set_text(to, "mac", sl_record_text(json_object_get(record, "link"), "source"));
	return to;
}

static int protocol_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} known[] = {{"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {"icmp", IPPROTO_ICMP},
		     {"icmpv6", IPPROTO_ICMPV6}, {"sctp", IPPROTO_SCTP}};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].number;
	return name[0] >= '0' && name[0] <= '9' ? atoi(name) : -1;
}

static json_t *connection(const json_t *record)
{
	const char *protocol = sl_record_text(record, "protocol");
	const char *family = sl_record_text(record, "family");
	const char *direction = sl_record_text(record, "direction");
	json_t *info = json_object();

	json_object_set_new(info, "direction_id",
			    json_integer(!direction ? 0 : !strcmp(direction, "ingress") ? 1 : 2));
	json_object_set_new(info, "direction",
			    json_string(!direction ? "Unknown" :
					!strcmp(direction, "ingress") ? "Inbound" : "Outbound"));
	if (protocol) {
		set_text(info, "protocol_name", protocol);
		json_object_set_new(info, "protocol_num", json_integer(protocol_number(protocol)));
	}
	if (family)
		json_object_set_new(info, "protocol_ver_id",
				    json_integer(!strcmp(family, "ipv4") ? 4 : 6));
	return info;
}

static void set_actor(json_t *to, const json_t *record)
{
	const json_t *process = json_object_get(record, "process");
	const json_t *uid = json_object_get(process, "uid");
	json_t *p = json_object();

	set_copy(p, "pid", json_object_get(process, "pid"));
	set_text(p, "name", sl_record_text(process, "comm"));
	if (json_is_integer(uid))
		json_object_set_new(p, "user", json_pack("{s:o}", "uid",
							 json_sprintf("%lld", (long long)
							 json_integer_value(uid))));
	if (json_object_size(p))
		json_object_set_new(to, "actor", json_pack("{s:o}", "process", p));
	else
		json_decref(p);
}

/* The security_control profile: what was decided, and by which rule. */
static void set_decision(json_t *to, const json_t *record, const char *verdict)
{
	bool deny = !strcmp(verdict, "deny"), audit = !strcmp(verdict, "audit-deny");
	const char *policy = sl_record_text(record, "policy");
	const char *rule = sl_record_text(record, "rule");

	json_object_set_new(to, "action_id", json_integer(deny ? DENIED : ALLOWED));
	json_object_set_new(to, "action", json_string(deny ? "Denied" : "Allowed"));
	json_object_set_new(to, "disposition_id",
			    json_integer(deny ? DISPOSITION_BLOCKED : audit ? DISPOSITION_LOGGED :
					 DISPOSITION_ALLOWED));
	json_object_set_new(to, "disposition",
			    json_string(deny ? "Blocked" : audit ? "Logged" : "Allowed"));
	set_text(to, "status_detail", sl_record_text(record, "reason"));
	if (policy)
		json_object_set_new(to, "policy",
				    json_pack("{s:s, s:o}", "name", policy, "version",
					      json_sprintf("%lld", (long long)json_integer_value(
						      json_object_get(record, "generation")))));
	if (rule)
		json_object_set_new(to, "firewall_rule", json_pack("{s:s}", "uid", rule));
}

static void set_class(json_t *to, int class, int activity, const char *class_name,
		      const char *activity_name)
{
	json_object_set_new(to, "class_uid", json_integer(class));
	json_object_set_new(to, "class_name", json_string(class_name));
	json_object_set_new(to, "category_uid", json_integer(class ? NETWORK : 0));
	json_object_set_new(to, "category_name", json_string(class ? "Network Activity" :
							     "Uncategorized"));
	json_object_set_new(to, "activity_id", json_integer(activity));
	json_object_set_new(to, "activity_name", json_string(activity_name));
	json_object_set_new(to, "type_uid", json_integer(class * 100 + activity));
}

static void set_network(json_t *to, const json_t *record)
{
	json_t *source = endpoint(record, "source"), *destination = endpoint(record, "destination");

	if (!source && !destination)
		source = workload(record);
	if (source)
		json_object_set_new(to, "src_endpoint", source);
	if (destination)
		json_object_set_new(to, "dst_endpoint", destination);
	json_object_set_new(to, "connection_info", connection(record));
	set_actor(to, record);
}

static void set_traffic(json_t *to, const json_t *record)
{
	const json_t *bytes = json_object_get(record, "bytes");
	const json_t *duration = json_object_get(record, "duration");
	json_t *traffic = json_object();

	set_copy(traffic, "bytes_out", json_object_get(bytes, "out"));
	set_copy(traffic, "bytes_in", json_object_get(bytes, "in"));
	if (json_object_size(traffic))
		json_object_set(to, "traffic", traffic);
	json_decref(traffic);
	if (json_is_number(duration))
		json_object_set_new(to, "duration",
				    json_integer((json_int_t)(json_number_value(duration) * 1000)));
}

/* What could not be read has no name, and is no query to the schema. */
static void set_query(json_t *to, const json_t *question)
{
	json_t *query = json_object();

	set_text(query, "hostname", sl_record_text(question, "name"));
	set_text(query, "type", sl_record_text(question, "type"));
	if (json_object_get(query, "hostname"))
		json_object_set(to, "query", query);
	json_decref(query);
}

static void set_event(json_t *to, const json_t *record)
{
	const char *event = sl_record_text(record, "event") ?: "";
	const char *verdict = sl_record_text(record, "verdict");
	const json_t *question = json_object_get(record, "question");

	if (verdict && !strcmp(event, "dns")) {
		set_class(to, DNS_ACTIVITY, DNS_QUERY, "DNS Activity", "Query");
		set_query(to, question);
	} else if (!strcmp(event, "close")) {
		set_class(to, NETWORK_ACTIVITY, CLOSE, "Network Activity", "Close");
	} else if (verdict && !strcmp(verdict, "deny")) {
		set_class(to, NETWORK_ACTIVITY, REFUSE, "Network Activity", "Refuse");
	} else if (verdict) {
		set_class(to, NETWORK_ACTIVITY, OPEN, "Network Activity", "Open");
	} else {
		set_class(to, 0, OTHER, "Base Event", event);
		return;
	}
	set_network(to, record);
	set_traffic(to, record);
	if (verdict)
		set_decision(to, record, verdict);
}

/* What has no attribute of its own. A reader that proves that none is missing needs
 * `event`, `first` and `stream`. */
static json_t *unmapped(const json_t *record)
{
	static const char *const rest[] = {"event", "first", "stream", "target", "hook", "link",
					   "icmp", "server_name", "end", "change", "why", "sink"};
	json_t *to = json_object();

	for (size_t i = 0; i < sizeof(rest) / sizeof(*rest); i++)
		set_copy(to, rest[i], json_object_get(record, rest[i]));
	return to;
}

/* Informational, Low, Medium, High. */
static int severity(enum sl_sink_level level)
{
	switch (level) {
	case SL_LEVEL_INFO: return 1;
	case SL_LEVEL_NOTICE: return 2;
	case SL_LEVEL_WARNING: return 3;
	case SL_LEVEL_ERROR: return 4;
	}
	return 0;
}

json_t *sl_ocsf(json_t *record, enum sl_sink_level level)
{
	json_t *to = json_object(), *metadata;
	const json_t *count = json_object_get(record, "count");

	if (!to)
		return NULL;
	metadata = json_pack("{s:s, s:{s:s, s:s, s:s}, s:[s,s,s], s:O?}", "version", "1.3.0", "product",
			     "name", "Sluice", "vendor_name", "Sluice", "version", SLUICE_VERSION,
			     "profiles", "datetime", "host", "security_control", "sequence",
			     json_object_get(record, "seq"));
	json_object_set_new(to, "metadata", metadata);
	json_object_set_new(to, "time",
			    json_integer(milliseconds(sl_record_text(record, "time"))));
	set_text(to, "time_dt", sl_record_text(record, "time"));
	json_object_set_new(to, "severity_id", json_integer(severity(level)));
	set_event(to, record);
	if (json_is_integer(count) && json_integer_value(count) > 0)
		json_object_set(to, "count", (json_t *)count);
	json_object_set_new(to, "unmapped", unmapped(record));
	return to;
}
