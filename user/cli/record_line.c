// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "record_line.h"

static const char *text_of(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

/* A frame that was denied unread. */
static void put_link(const json_t *link)
{
	if (!json_is_object(link)) {
		putchar('?');
		return;
	}
	printf("frame %s > %s", text_of(link, "source"), text_of(link, "destination"));
	if (json_is_integer(json_object_get(link, "vlan")))
		printf(" vlan %lld", (long long)json_integer_value(json_object_get(link, "vlan")));
	if (!strcmp(text_of(link, "ethertype"), "0x0806"))
		fputs(" arp", stdout);
	else
		printf(" ethertype %s", text_of(link, "ethertype"));
}

static void put_port(const json_t *record, const json_t *end)
{
	const char *address = text_of(end, "address"), *protocol = text_of(record, "protocol");
	const json_t *port = json_object_get(end, "port"), *icmp = json_object_get(record, "icmp");

	if (!address) {
		put_link(json_object_get(record, "link"));
		return;
	}
	if (json_is_integer(port))
		printf(strchr(address, ':') ? "[%s]:%lld" : "%s:%lld", address,
		       (long long)json_integer_value(port));
	else
		fputs(address, stdout);
	printf(protocol && protocol[0] >= '0' && protocol[0] <= '9' ? "/protocol %s" : "/%s",
	       protocol ? protocol : "?");
	if (json_is_object(icmp))
		printf(" type %lld", (long long)json_integer_value(json_object_get(icmp, "type")));
}

/* Of a flow that is over. */
static void put_end(const json_t *record)
{
	const json_t *bytes = json_object_get(record, "bytes");

	printf("  %s after %.1f s, %lld bytes out, %lld in", text_of(record, "end"),
	       json_number_value(json_object_get(record, "duration")),
	       (long long)json_integer_value(json_object_get(bytes, "out")),
	       (long long)json_integer_value(json_object_get(bytes, "in")));
}

static void put_process(const json_t *process)
{
	const json_t *pid = json_object_get(process, "pid");

	if (!json_is_integer(pid))
		return;
	fputs("  ", stdout);
	sl_put_text(text_of(process, "comm") ?: "?", stdout);
	printf("[%lld]", (long long)json_integer_value(pid));
}

static void put_decision(const json_t *record)
{
	const json_t *question = json_object_get(record, "question");
	const char *rule = text_of(record, "rule"), *verdict = text_of(record, "verdict");
	const char *direction = text_of(record, "direction");
	bool inbound = direction && !strcmp(direction, "ingress");
	long long count = json_integer_value(json_object_get(record, "count"));

	bool close = !strcmp(text_of(record, "event"), "close");

	printf("%-10s ", close ? "close" : verdict ? verdict : "?");
	if (json_is_object(question)) {
		sl_put_text(text_of(question, "name"), stdout);
		printf(" %s?", text_of(question, "type"));
	} else {
		fputs(inbound ? "from " : "", stdout);
		put_port(record, json_object_get(record, inbound ? "source" : "destination"));
	}
	if (text_of(record, "server_name")) {
		fputs(" (", stdout);
		sl_put_text(text_of(record, "server_name"), stdout);
		putchar(')');
	}
	fputs("  ", stdout);
	sl_put_text(rule ? rule : text_of(record, "reason"), stdout);
	put_process(json_object_get(record, "process"));
	if (count > 1)
		printf("  (%lld times)", count);
	if (close)
		put_end(record);
}

static void put_news(const json_t *record)
{
	static const char *const keys[] = {"change", "policy", "why", NULL};

	fputs(text_of(record, "event"), stdout);
	for (size_t i = 0; keys[i]; i++) {
		const char *text = text_of(record, keys[i]);

		if (!text)
			continue;
		fputs(i ? ": " : " ", stdout);
		sl_put_text(text, stdout);
	}
	if (json_is_boolean(json_object_get(record, "ok")))
		fputs(json_is_true(json_object_get(record, "ok")) ? " in force" : " FAILED",
		      stdout);
	if (json_object_get(record, "bytes"))
		printf(" %lld bytes out, %lld in",
		       (long long)json_integer_value(json_object_get(
			       json_object_get(record, "bytes"), "out")),
		       (long long)json_integer_value(json_object_get(
			       json_object_get(record, "bytes"), "in")));
	if (json_is_integer(json_object_get(record, "count")))
		printf(" %lld", (long long)json_integer_value(json_object_get(record, "count")));
}

/* In a column. */
static void put_target(const char *target)
{
	char *text = target ? sl_escaped(target) : NULL;

	printf("%-12s ", text ? text : "?");
	free(text);
}

void sl_record_line(const json_t *record)
{
	const char *time = text_of(record, "time");
	const json_t *target = json_object_get(record, "target");

	printf("%s  ", time ? time : "?");
	if (text_of(record, "verdict")) {
		put_target(text_of(target, "name"));
		put_decision(record);
	} else {
		if (target)
			put_target(text_of(target, "name"));
		put_news(record);
	}
	putchar('\n');
}
