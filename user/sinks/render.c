// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A record as the bytes of a line. Whatever a workload chose (a queried name, comm) is
 * text of a JSON string by now: jansson escapes control characters, and JSON_ENSURE_ASCII
 * what is not ASCII, so that no byte of it can end a line, or steer a terminal.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "policy/text.h"

#define JSON_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

unsigned sl_variant(enum sl_shape shape, enum sl_sink_format format)
{
	return 2 * (unsigned)shape + (unsigned)format;
}

const char *sl_record_path(const json_t *record, ...)
{
	const char *key;
	va_list keys;

	va_start(keys, record);
	while ((key = va_arg(keys, const char *)))
		record = json_object_get(record, key);
	va_end(keys);
	return json_string_value(record);
}

static void put_target(FILE *out, const json_t *record)
{
	const char *name = sl_record_text(record, "target", "name");
	const char *policy = sl_record_text(record, "policy");

	if (name)
		fprintf(out, " target %s", name);
	if (policy)
		fprintf(out, " policy %s", policy);
}

static void put_endpoint(FILE *out, const json_t *record)
{
	bool inbound = !strcmp(sl_record_text(record, "direction") ?: "", "ingress");
	const json_t *end = json_object_get(record, inbound ? "source" : "destination");
	const char *address = sl_record_text(end, "address");
	const char *name = sl_record_text(end, "name");
	const json_t *port = json_object_get(end, "port");

	fputs(inbound ? " from" : "", out);
	if (name)
		fprintf(out, " %s", name);
	fprintf(out, strchr(address ?: "", ':') ? " [%s]" : " %s", address ?: "?");
	if (json_is_integer(port))
		fprintf(out, ":%lld", (long long)json_integer_value(port));
	if (sl_record_text(record, "protocol"))
		fprintf(out, "/%s", sl_record_text(record, "protocol"));
}

static void put_decision(FILE *out, const json_t *record)
{
	const char *rule = sl_record_text(record, "rule");
	const char *asked = sl_record_text(record, "question", "name");
	const json_t *pid = json_object_get(json_object_get(record, "process"), "pid");
	json_int_t count = json_integer_value(json_object_get(record, "count"));

	fputs(sl_record_text(record, "verdict"), out);
	if (asked)
		fprintf(out, " question %s %s", asked, sl_record_text(record, "question", "type") ?: "?");
	else
		put_endpoint(out, record);
	if (sl_record_text(record, "server_name"))
		fprintf(out, " server name %s", sl_record_text(record, "server_name"));
	fprintf(out, " by %s", rule ?: sl_record_text(record, "reason") ?: "?");
	put_target(out, record);
	if (json_is_integer(pid))
		fprintf(out, " process %s[%lld]",
			sl_record_text(record, "process", "comm") ?: "?",
			(long long)json_integer_value(pid));
	if (count > 1)
		fprintf(out, " (%lld times)", (long long)count);
}

char *sl_record_message(const json_t *record)
{
	const json_t *count = json_object_get(record, "count");
	const char *why = sl_record_text(record, "why");
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	if (sl_record_text(record, "verdict")) {
		put_decision(out, record);
	} else {
		fputs(sl_record_text(record, "event") ?: "record", out);
		if (sl_record_text(record, "change"))
			fprintf(out, " %s", sl_record_text(record, "change"));
		if (json_is_integer(count))
			fprintf(out, " %lld record%s", (long long)json_integer_value(count),
				SL_S(json_integer_value(count)));
		put_target(out, record);
		if (why)
			fprintf(out, ": %s", why);
	}
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	/* no line of it is anything but the message's own */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return text;
}

/* ---- RFC 5424 ---- */

/* A header field: printable ASCII without spaces, at most max; else `-`. */
static void put_header(FILE *out, const char *text, size_t max)
{
	size_t n = 0;

	for (; text && *text && n < max; text++, n++)
		fputc(*text > 0x20 && *text < 0x7f ? *text : '?', out);
	fputs(n ? " " : "- ", out);
}

/* Section 6.2.3: at most microseconds. */
static void put_timestamp(FILE *out, const json_t *record)
{
	const char *time = sl_record_text(record, "time"), *dot = strchr(time ?: "", '.');

	if (!time || strlen(time) > 40)
		fputs("- ", out);
	else if (dot && strspn(dot + 1, "0123456789") > 6)
		fprintf(out, "%.*sZ ", (int)(dot + 7 - time), time);
	else
		fprintf(out, "%s ", time);
}

static void put_syslog(FILE *out, const json_t *record, __u64 seq)
{
	char host[HOST_NAME_MAX + 1] = "";

	gethostname(host, sizeof(host) - 1);
	fputs("1 ", out);
	put_timestamp(out, record);
	put_header(out, host, 255);
	fputs("sluice ", out);
	fprintf(out, "%d ", getpid());
	put_header(out, sl_record_text(record, "event"), 32);
	/* section 7.3.1: from 1 to 2147483647, and again */
	fprintf(out, "[meta sequenceId=\"%llu\"] ", (unsigned long long)(seq % 2147483647 + 1));
}

/* ---- all of them ---- */

static int put_shape(FILE *out, enum sl_shape shape, const json_t *record, const json_t *body,
		     __u64 seq, enum sl_sink_level level)
{
	char *message;
	int err = 0;

	switch (shape) {
	case SL_SHAPE_SYSLOG:
		put_syslog(out, record, seq);
		return json_dumpf(body, out, JSON_FLAGS);
	case SL_SHAPE_JOURNAL:
		message = body == record ? sl_record_message(record) :
			  json_dumps(body, JSON_FLAGS);
		if (message)
			sl_journal_fields(out, record, message, level);
		err = message ? 0 : -1;
		free(message);
		return err;
	default:
		err = json_dumpf(body, out, JSON_FLAGS);
		fputc('\n', out);
		return err;
	}
}

struct sl_line *sl_render(unsigned variant, json_t *record, __u64 seq, enum sl_sink_level level)
{
	json_t *body = variant & 1 ? sl_ocsf(record, level) : json_incref(record);
	struct sl_line *line = NULL;
	char *bytes = NULL;
	size_t len = 0;
	FILE *out = body ? open_memstream(&bytes, &len) : NULL;
	int err;

	if (out) {
		err = put_shape(out, variant / 2, record, body, seq, level);
		if (!fclose(out) && !err && len <= SL_LINE_MAX)
			line = sl_line_new(bytes, len, seq, level);
	}
	free(bytes);
	json_decref(body);
	return line;
}
