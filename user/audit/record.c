// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Events as text and JSON. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "named.h"
#include "policy/text.h"
#include "record.h"

static const char *const reasons[] = {
#define WORD(name, word, text) word,
	SL_REASONS(WORD)
#undef WORD
};

static const char *const hooks[] = {
#define WORD(name, word) word,
	SL_HOOKS(WORD)
#undef WORD
};

const char *sl_reason_word(unsigned reason)
{
	return reason < SL_REASON_MAX ? reasons[reason] : "unknown";
}

const char *sl_hook_word(unsigned hook)
{
	return hook < SL_HOOK_MAX ? hooks[hook] : "unknown";
}

const char *sl_verdict_word(unsigned verdict)
{
	static const char *const words[] = {"allow", "deny", "audit-deny"};

	return verdict < 3 ? words[verdict] : "unknown";
}

const char *sl_event_word(const struct sl_event *event)
{
	return sl_event_close(event) ? "close" : sl_verdict_word(event->verdict);
}

static const char *const ends[] = {
#define WORD(name, word) word,
	SL_ENDS(WORD)
#undef WORD
};

const char *sl_event_rule(const struct sl_audit_names *names, const struct sl_event *event)
{
	if (!names->compiled)
		return event->rule < names->n_rules ? names->rule_ids[event->rule] : NULL;
	if (event->rule >= names->compiled->n_rules)
		return NULL;
	return names->compiled->rules[event->rule].id;
}

static const char *address_text(const struct sl_event *event, const __u8 *address,
				char buf[INET6_ADDRSTRLEN])
{
	return inet_ntop(event->family == 4 ? AF_INET : AF_INET6, address, buf, INET6_ADDRSTRLEN);
}

static const char *protocol_text(__u8 protocol, char buf[8])
{
	const char *name = sl_protocol_name(protocol);

	if (name)
		return name;
	snprintf(buf, 8, "%u", protocol);
	return buf;
}

/* Of a message that could not be read there is no question. */
static bool is_about_dns(const struct sl_event *event)
{
	return sl_event_question_type(event) ||
	       (event->reason >= SL_REASON_DNS_NAME && event->reason <= SL_REASON_DNS_ANSWER);
}

/* A number could be taken for a prefix length. */
static void without_ports(const struct sl_event *event, const char *address,
			  char buf[SL_ENDPOINT_TEXT])
{
	const char *name = sl_protocol_name(event->protocol);

	if (event->flags & SL_EVENT_ICMP)
		snprintf(buf, SL_ENDPOINT_TEXT, "%s/%s type %u", address, name,
			 event->destination_port >> 8);
	else if (name)
		snprintf(buf, SL_ENDPOINT_TEXT, "%s/%s", address, name);
	else
		snprintf(buf, SL_ENDPOINT_TEXT, "%s/protocol %u", address, event->protocol);
}

/* What is known of a frame that was denied before its packet was read. */
static void frame_text(const struct sl_event *event, char buf[SL_ENDPOINT_TEXT])
{
	const __u8 *from = event->mac_source, *to = event->mac_destination;
	char vlan[16] = "", type[24];

	snprintf(type, sizeof(type), "ethertype 0x%04x", event->ethertype);
	if (event->vlan != SL_VLAN_NONE)
		snprintf(vlan, sizeof(vlan), " vlan %u", event->vlan);
	snprintf(buf, SL_ENDPOINT_TEXT, "frame %02x:%02x:%02x:%02x:%02x:%02x > "
		 "%02x:%02x:%02x:%02x:%02x:%02x%s %s", from[0], from[1], from[2], from[3],
		 from[4], from[5], to[0], to[1], to[2], to[3], to[4], to[5], vlan,
		 event->ethertype == ETH_P_ARP ? "arp" : type);
}

const char *sl_event_endpoint(const struct sl_event *event, char buf[SL_ENDPOINT_TEXT])
{
	bool inbound = event->direction == SL_INGRESS;
	char address[INET6_ADDRSTRLEN], protocol[8], asked[SL_NAME_TEXT], type[16];
	const char *name;
	size_t length;

	if (sl_event_question_type(event)) {
		snprintf(buf, SL_ENDPOINT_TEXT, "%.60s %s?", sl_event_name(event, asked),
			 sl_question_type_text(sl_event_question_type(event), type));
		return buf;
	}
	if (!(event->flags & SL_EVENT_PARSED)) {
		if (event->flags & SL_EVENT_LINK)
			frame_text(event, buf);
		else
			strcpy(buf, "?");
		return buf;
	}
	address_text(event, inbound ? event->source : event->destination, address);
	name = protocol_text(event->protocol, protocol);
	if (event->flags & SL_EVENT_PORTS)
		snprintf(buf, SL_ENDPOINT_TEXT, event->family == 6 ? "[%s]:%u/%s" : "%s:%u/%s",
			 address, inbound ? event->source_port : event->destination_port, name);
	else
		without_ports(event, address, buf);
	if (sl_event_is_of_server(event)) {
		length = strlen(buf);
		snprintf(buf + length, SL_ENDPOINT_TEXT - length, " (%s)", sl_event_name(event, asked));
	}
	return buf;
}

const char *sl_event_time(const struct sl_audit_names *names, __u64 time_ns, char buf[40])
{
	__s64 ns = names->boot_epoch_ns + (__s64)time_ns;
	time_t seconds = ns / 1000000000;
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(buf, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 40 - n, ".%09lldZ", (long long)(ns % 1000000000));
	return buf;
}

/* A device's name may be any bytes: what JSON has no way to carry becomes \xNN. */
static json_t *any_text(const char *text)
{
	json_t *j = text ? json_string(text) : json_null();
	char *escaped = NULL;
	size_t len;
	FILE *out = j ? NULL : open_memstream(&escaped, &len);

	if (!out)
		return j;
	sl_put_text(text, out);
	if (!fclose(out))
		j = json_string(escaped);
	free(escaped);
	return j;
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *endpoint_json(const struct sl_event *event, bool known, const __u8 *address,
			     __u16 port, bool with_name)
{
	bool ports = known && (event->flags & SL_EVENT_PORTS);
	char text[INET6_ADDRSTRLEN], name[SL_NAME_TEXT];
	json_t *j = json_object();

	json_object_set_new(j, "address",
			    text_or_null(known ? address_text(event, address, text) : NULL));
	json_object_set_new(j, "port", ports ? json_integer(port) : json_null());
	if (with_name)
		json_object_set_new(j, "name", is_about_dns(event) || sl_event_is_of_server(event) ?
				    json_null() : text_or_null(sl_event_name(event, name)));
	return j;
}

/* What was asked, of an event about a question. */
static json_t *question_json(const struct sl_event *event)
{
	char name[SL_NAME_TEXT], type[16];

	if (!sl_event_question_type(event))
		return json_null();
	return json_pack("{s:s,s:s}", "name", sl_event_name(event, name), "type",
			 sl_question_type_text(sl_event_question_type(event), type));
}

static json_t *server_json(const struct sl_event *event)
{
	char name[SL_NAME_TEXT];

	return sl_event_is_of_server(event) ? json_string(sl_event_name(event, name)) : json_null();
}

static json_t *icmp_json(const struct sl_event *event)
{
	if (!(event->flags & SL_EVENT_ICMP))
		return json_null();
	return json_pack("{s:i,s:i}", "type", event->destination_port >> 8, "code",
			 event->destination_port & 0xff);
}

/* comm is what the workload calls itself: any bytes. */
static void comm_text(const struct sl_event *event, char comm[sizeof(event->comm) + 1])
{
	size_t i;

	memcpy(comm, event->comm, sizeof(event->comm));
	comm[sizeof(event->comm)] = 0;
	for (i = 0; comm[i]; i++)
		if ((unsigned char)comm[i] < 0x20 || (unsigned char)comm[i] >= 0x7f)
			comm[i] = '?';
}

const char *sl_event_process(const struct sl_event *event, char buf[SL_PROCESS_TEXT])
{
	char comm[sizeof(event->comm) + 1];

	if (!(event->flags & SL_EVENT_PROCESS))
		return strcpy(buf, "-");
	comm_text(event, comm);
	snprintf(buf, SL_PROCESS_TEXT, "%s[%u]", comm, event->pid);
	return buf;
}

static json_t *comm_json(const struct sl_event *event)
{
	char comm[sizeof(event->comm) + 1];

	comm_text(event, comm);
	return json_string(comm);
}

static json_t *process_json(const struct sl_event *event)
{
	bool known = event->flags & SL_EVENT_PROCESS;
	json_t *j = json_object();
	json_t *uid = json_null();

	if (event->flags & SL_EVENT_UID)
		uid = json_integer(event->socket_uid);
	else if (known)
		uid = json_integer(event->process_uid);
	json_object_set_new(j, "pid", known ? json_integer(event->pid) : json_null());
	json_object_set_new(j, "uid", uid);
	json_object_set_new(j, "comm", known ? comm_json(event) : json_null());
	return j;
}

static json_t *mac_json(const __u8 mac[6])
{
	return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
			    mac[5]);
}

static json_t *link_json(const struct sl_event *event)
{
	if (!(event->flags & SL_EVENT_LINK))
		return json_null();
	return json_pack("{s:o,s:o,s:o,s:o}", "source", mac_json(event->mac_source), "destination",
			 mac_json(event->mac_destination), "ethertype",
			 json_sprintf("0x%04x", event->ethertype), "vlan",
			 event->vlan == SL_VLAN_NONE ? json_null() : json_integer(event->vlan));
}

static json_t *family_json(const struct sl_event *event)
{
	if (!(event->flags & SL_EVENT_PARSED))
		return json_null();
	return json_string(event->family == 4 ? "ipv4" : "ipv6");
}

/* Null but of a flow that is over. */
static void set_close(json_t *j, const struct sl_close_event *c)
{
	json_object_set_new(j, "bytes", !c ? json_null() :
			    json_pack("{s:I,s:I}", "out", (json_int_t)c->bytes[SL_EGRESS], "in",
				      (json_int_t)c->bytes[SL_INGRESS]));
	json_object_set_new(j, "duration", c ? json_real((double)c->lasted_ns / 1e9) : json_null());
	json_object_set_new(j, "end", c ? json_string(c->end < SL_END_MAX ? ends[c->end] :
							"unknown") : json_null());
}

static json_t *target_json(const struct sl_audit_names *names)
{
	json_t *target = json_pack("{s:s,s:o}", "kind", names->target_kind, "name",
				   any_text(names->target));

	if (names->whose)
		json_object_update(target, names->whose);
	return target;
}

json_t *sl_event_json(const struct sl_audit_names *names, const struct sl_event *event,
		      __u64 count, __u64 sequence)
{
	bool parsed = event->flags & SL_EVENT_PARSED;
	char time[40], protocol[8];
	json_t *j = json_object();

	if (!j)
		return NULL;
	json_object_set_new(j, "time", json_string(sl_event_time(names, event->time_ns, time)));
	json_object_set_new(j, "seq", json_integer(sequence));
	json_object_set_new(j, "event", json_string(sl_event_close(event) ? "close" :
						is_about_dns(event) ? "dns" : "connection"));
	json_object_set_new(j, "verdict", json_string(sl_verdict_word(event->verdict)));
	json_object_set_new(j, "reason", json_string(sl_reason_word(event->reason)));
	json_object_set_new(j, "policy", text_or_null(names->policy));
	json_object_set_new(j, "generation", json_integer(event->generation));
	json_object_set_new(j, "rule", text_or_null(sl_event_rule(names, event)));
	json_object_set_new(j, "target", target_json(names));
	json_object_set_new(j, "hook", json_string(sl_hook_word(event->hook)));
	json_object_set_new(j, "direction",
			    json_string(event->direction == SL_INGRESS ? "ingress" : "egress"));
	json_object_set_new(j, "family", family_json(event));
	json_object_set_new(j, "protocol",
			    text_or_null(parsed ? protocol_text(event->protocol, protocol) : NULL));
	json_object_set_new(j, "icmp", icmp_json(event));
	json_object_set_new(j, "source",
			    endpoint_json(event, event->flags & SL_EVENT_SOURCE, event->source,
					  event->source_port, false));
	json_object_set_new(j, "destination",
			    endpoint_json(event, parsed, event->destination,
					  event->destination_port, true));
	json_object_set_new(j, "question", question_json(event));
	json_object_set_new(j, "server_name", server_json(event));
	json_object_set_new(j, "link", link_json(event));
	json_object_set_new(j, "process", process_json(event));
	json_object_set_new(j, "count", json_integer(count));
	set_close(j, sl_event_close(event));
	return j;
}
