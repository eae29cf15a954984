// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From records to wishes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/address.h"
#include "policy/builtin.h"
#include "policy/domain.h"
#include "policy/text.h"
#include "records_internal.h"

#define DNS_PORT 53

struct sl_records *sl_records_new(const char *policy)
{
	struct sl_records *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->wanted = policy;
	r->policies = json_object();
	r->keys = json_object();
	r->resolvers = json_object();
	r->asked = json_object();
	r->named = json_object();
	r->refused = json_object();
	r->metadata = json_object();
	r->left = json_object();
	if (r->policies && r->keys && r->resolvers && r->asked && r->named && r->refused &&
	    r->metadata && r->left)
		return r;
	sl_records_free(r);
	return NULL;
}

static void wish_free(struct sl_wish *w)
{
	for (size_t i = 0; i < SL_WISH_PROCESSES; i++)
		free(w->processes[i]);
	free(w->name);
}

void sl_records_free(struct sl_records *r)
{
	if (!r)
		return;
	while (r->n_wishes)
		wish_free(&r->wishes[--r->n_wishes]);
	free(r->wishes);
	json_decref(r->policies);
	json_decref(r->keys);
	json_decref(r->resolvers);
	json_decref(r->asked);
	json_decref(r->named);
	json_decref(r->refused);
	json_decref(r->metadata);
	json_decref(r->left);
	free(r);
}

/* So many more of it. The list is as bounded as that of the wishes. */
static void count(struct sl_records *r, json_t *list, const char *what, __u64 times)
{
	json_t *before = json_object_get(list, what);

	if (!before && json_object_size(list) >= SL_WISHES_MAX)
		r->too_many = true;
	else if (json_object_set_new(list, what,
				     json_integer(json_integer_value(before) + (json_int_t)times)))
		r->no_memory = true;
}

/* ---- destinations ---- */

struct seen { /* of a record, borrowed */
	struct sl_alert_record *record;
	const char *verdict, *reason, *rule, *name, *address, *protocol, *process;
	char texts[7][SL_FIELD_TEXT];
	__u32 port;
	__u64 times;
};

static const char *get(struct seen *s, enum sl_alert_field field, int text)
{
	const char *found = sl_field_get(s->record, field, s->texts[text]);

	return found ? found : "";
}

static void read_fields(struct seen *s, struct sl_alert_record *record)
{
	char port[SL_FIELD_TEXT];
	const char *digits;

	s->record = record;
	s->times = record->count;
	s->verdict = get(s, SL_FIELD_VERDICT, 0);
	s->reason = get(s, SL_FIELD_REASON, 1);
	s->rule = get(s, SL_FIELD_RULE, 2);
	s->name = get(s, SL_FIELD_DESTINATION_NAME, 3);
	s->address = get(s, SL_FIELD_DESTINATION_ADDRESS, 4);
	s->protocol = get(s, SL_FIELD_PROTOCOL, 5);
	s->process = get(s, SL_FIELD_PROCESS_COMM, 6);
	digits = sl_field_get(record, SL_FIELD_DESTINATION_PORT, port);
	s->port = digits ? (__u32)strtoul(digits, NULL, 10) & 0xffff : 0;
}

/* A name as rules have it: neither an address that looks like one, nor the word for everybody. */
static bool is_name(const char *text)
{
	size_t len = strlen(text);

	return len && strcasecmp(text, "any") && !sl_domain_fault(text, len) &&
	       !sl_domain_ends_in_number(text, len);
}

/* One address, as rules have it: no prefix, and none that embeds an IPv4 address. */
static bool address_of(const char *text, struct sl_cidr *address)
{
	struct sl_cidr ipv4;
	bool masked;

	return !sl_cidr_parse(text, strlen(text), address, &masked) &&
	       address->len == (address->family == 4 ? 32 : 128) &&
	       !sl_cidr_embedded_ipv4(address, &ipv4);
}

/* As a word of the policy language, or a number. */
static int protocol_of(const char *text)
{
	__u64 number;
	int protocol;

	if (sl_text_number(text, strlen(text), 255, &number))
		return (int)number;
	return sl_protocol_number(text, strlen(text), &protocol) || protocol == SL_PROTOCOL_ANY
		       ? -1
		       : protocol;
}

static bool has_ports(int protocol)
{
	return protocol == 6 || protocol == 17 || protocol == 132;
}

static void note_process(struct sl_wish *w, const char *process)
{
	for (size_t i = 0; *process && i < SL_WISH_PROCESSES; i++) {
		if (w->processes[i] && strcmp(w->processes[i], process))
			continue;
		if (!w->processes[i])
			w->processes[i] = strdup(process); /* or it is not told */
		return;
	}
}

static struct sl_wish *find_wish(struct sl_records *r, const char *key)
{
	json_t *at = json_object_get(r->keys, key);
	struct sl_wish *w;

	if (at)
		return &r->wishes[json_integer_value(at)];
	if (r->n_wishes == SL_WISHES_MAX) {
		r->too_many = true;
		return NULL;
	}
	w = SL_ADD(r->wishes, r->n_wishes);
	if (!w || json_object_set_new(r->keys, key, json_integer((json_int_t)r->n_wishes - 1)))
		r->no_memory = true;
	return w;
}

static void wish(struct sl_records *r, const struct seen *s, const struct sl_cidr *address)
{
	int protocol = protocol_of(s->protocol);
	bool named = is_name(s->name), hidden = named && !sl_address_may_belong(address, false);
	char key[2 * SL_FIELD_TEXT], text[SL_CIDR_TEXT];
	struct sl_wish *w;

	snprintf(key, sizeof(key), "%s %d %u %d", named ? s->name : sl_cidr_format(address, text),
		 protocol, s->port, hidden);
	w = find_wish(r, key);
	if (!w)
		return;
	if (!w->times) {
		w->name = named ? strdup(s->name) : NULL;
		r->no_memory |= named && !w->name;
		w->address = *address;
		w->protocol = protocol;
		w->port = has_ports(protocol) ? s->port : 0;
		w->is_private = hidden;
	}
	w->times += s->times;
	note_process(w, s->process);
	if (named)
		count(r, r->named, s->name, s->times);
}

/* ---- records ---- */

/* As `ADDRESS:PORT/PROTOCOL`, of a denial that stays. */
static void note_denial(struct sl_records *r, json_t *list, const struct seen *s,
			const char *before)
{
	char text[4 * SL_FIELD_TEXT];

	snprintf(text, sizeof(text), strchr(s->address, ':') ? "%s[%s]:%u/%s" : "%s%s:%u/%s",
		 before, s->address, s->port, s->protocol);
	count(r, list, text, s->times);
}

static void take_denied_by_rule(struct sl_records *r, const struct seen *s, const char *name)
{
	char before[2 * SL_FIELD_TEXT];

	snprintf(before, sizeof(before), "rule %s: %s%s", s->rule, name ? name : s->name,
		 name || !*s->name ? "" : " ");
	if (name)
		count(r, r->refused, before, s->times);
	else
		note_denial(r, r->refused, s, before);
}

static bool is_allowed(const struct seen *s)
{
	return !strcmp(s->verdict, "allow");
}

/* A resolver: its questions are events of their own, if the policy reads them. */
static bool is_to_resolver(const struct seen *s)
{
	return s->port == DNS_PORT && (!strcmp(s->protocol, "udp") || !strcmp(s->protocol, "tcp"));
}

static void take_connection(struct sl_records *r, const struct seen *s)
{
	struct sl_cidr address;
	bool by_default = !strcmp(s->reason, "default"), gate = !strcmp(s->reason, "dns-gate");

	if (!address_of(s->address, &address) || protocol_of(s->protocol) < 0) {
		count(r, r->left, *s->reason ? s->reason : "no reason", s->times);
	} else if (is_to_resolver(s) && (is_allowed(s) || by_default || gate)) {
		count(r, r->resolvers, s->address, s->times);
		r->is_unread |= !is_allowed(s);
	} else if (!is_allowed(s) && !strcmp(s->reason, "rule")) {
		take_denied_by_rule(r, s, NULL);
	} else if (!is_allowed(s) && !by_default) {
		count(r, r->left, *s->reason ? s->reason : "no reason", s->times);
	} else if (sl_cidrs_have(sl_builtin_set("metadata"), &address)) {
		note_denial(r, r->metadata, s, "");
	} else {
		wish(r, s, &address);
	}
}

static void take_question(struct sl_records *r, const struct seen *s)
{
	char buf[SL_FIELD_TEXT], hooked[SL_FIELD_TEXT];
	const char *name = sl_field_get(s->record, SL_FIELD_QUESTION_NAME, buf);
	const char *hook = sl_field_get(s->record, SL_FIELD_HOOK, hooked);
	bool forwarded = hook && !strcmp(hook, "forwarder");
	bool by_rule = !strcmp(s->reason, "rule");
	struct sl_cidr resolver;

	if (!name || !is_name(name) || !address_of(s->address, &resolver) ||
	    !(is_allowed(s) || by_rule || !strcmp(s->reason, "dns-name"))) {
		count(r, r->left, *s->reason ? s->reason : "no reason", s->times);
		return;
	}
	if (!forwarded)
		count(r, r->resolvers, s->address, s->times);
	if (!is_allowed(s) && by_rule)
		take_denied_by_rule(r, s, name);
	else
		count(r, r->asked, name, s->times);
}

void sl_records_take(void *records, struct sl_alert_record *record)
{
	char event[SL_FIELD_TEXT], policy[SL_FIELD_TEXT], direction[SL_FIELD_TEXT];
	const char *is = sl_field_get(record, SL_FIELD_EVENT, event);
	const char *whose = sl_field_get(record, SL_FIELD_POLICY, policy);
	const char *way = sl_field_get(record, SL_FIELD_DIRECTION, direction);
	struct sl_records *r = records;
	struct seen s;

	if (!is || (strcmp(is, "connection") && strcmp(is, "dns")))
		return;
	whose = whose ? whose : "";
	count(r, r->policies, whose, record->count);
	if (r->wanted && strcmp(whose, r->wanted))
		return;
	r->decisions += record->count;
	read_fields(&s, record);
	if (way && !strcmp(way, "ingress"))
		count(r, r->left, *s.reason ? s.reason : "no reason", s.times);
	else if (!strcmp(is, "dns"))
		take_question(r, &s);
	else
		take_connection(r, &s);
}
