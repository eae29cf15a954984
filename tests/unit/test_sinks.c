// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks: their configuration, their queues, what they write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/aggregate.h"
#include "audit/named.h"
#include "audit/record.h"
#include "policy/yaml.h"
#include "sink_spec.h"

/* ---- configuration ---- */

static void test_options(void **state)
{
	struct sl_sink_config c =
		parsed("file:/var/log/a.jsonl,rotate=10M,every=1d,keep=5,mode=0600");

	assert_int_equal(c.kind, SL_SINK_FILE);
	assert_string_equal(c.path, "/var/log/a.jsonl");
	assert_string_equal(c.spec, "file:/var/log/a.jsonl");
	assert_true(c.rotate_bytes == 10u << 20 && c.rotate_s == 86400 && c.keep == 5);
	assert_int_equal(c.mode, 0600);
	sl_sink_config_free(&c);
	c = parsed("journald,format=ocsf,queue=100");
	assert_string_equal(c.path, "/run/systemd/journal/socket");
	assert_true(c.format == SL_SINK_OCSF && c.queue == 100);
	sl_sink_config_free(&c);
	c = parsed("syslog");
	assert_string_equal(c.path, "/dev/log");
	sl_sink_config_free(&c);
	c = parsed("syslog:tcp:[2001:db8::1]:6514,facility=local7");
	assert_true(c.transport == SL_SYSLOG_TCP && c.port == 6514 && c.facility == 23);
	assert_string_equal(c.host, "2001:db8::1");
	sl_sink_config_free(&c);
	c = parsed("unix:/run/x,consumers=3");
	assert_true(c.kind == SL_SINK_UNIX && c.consumers == 3 && c.mode == 0660);
	sl_sink_config_free(&c);
}

static void test_wrong_options(void **state)
{
	static const struct {
		const char *spec, *said;
	} wrong[] = {
		{"", "'' is no kind of sink"},
		{"fil:/a", "'fil' is no kind of sink: file, stdout, journald, syslog and unix are"},
		{"file:a", "file: 'a': an absolute path is wanted"},
		{"file", "file: '': an absolute path is wanted"},
		{"file:/a,rotate=1K", "rotate: '1K': a size as 10M, at least 4K, is wanted"},
		{"file:/a,rotate=10X", "rotate: '10X': a size as 10M"},
		{"file:/a,every=1s", "every: '1s': a time as 30m"},
		{"file:/a,every=99999999d", "every: '99999999d'"},
		{"file:/a,keep=0,rotate=1M", "keep: '0': a number, 1 to 1000, is wanted"},
		{"file:/a,keep=3", "keep: nothing rotates"},
		{"file:/a,mode=rw", "mode: 'rw': permissions as 0640"},
		{"file:/a,rotat=1M", "unknown key 'rotat' of a sink; did you mean 'rotate'?"},
		{"file:/a,stdout=", "'file' and 'stdout': a sink is of one kind"},
		{"file:/a,rotate", "'rotate': KEY=VALUE is wanted"},
		{"file:/a,queue=20,queue=30", "queue stands twice"},
		{"stdout:x", "stdout: 'x': it has no address"},
		{"stdout,rotate=1M", "rotate: a sink 'stdout' has no such key"},
		{"journald,format=xml", "format: 'xml': it is json or ocsf"},
		{"syslog:udp:192.0.2.1", "a numeric address and port"},
		{"syslog:udp:192.0.2.1:0", "a numeric address and port"},
		{"syslog:tcp:log.example:514", "'log.example:514': a numeric address"},
		{"syslog:tcp:[::1:514", "a numeric address"},
		{"syslog,facility=locl0", "facility: 'locl0' is none; did you mean local0?"},
		{"unix:/a,group=no-such-group", "group: there is no group 'no-such-group'"},
		{"unix:/"
		 "01234567890123456789012345678901234567890123456789012345678901234567890123456"
		 "789012345678901234567890123456789",
		 "is too long for a socket's path"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct sl_sink_config config;
		struct sl_diag diag = {};

		assert_int_equal(sl_sink_parse(wrong[i].spec, NULL, &config, &diag), -EINVAL);
		assert_int_equal(diag.n_errors, 1);
		if (!strstr(diag.entries[0].message, wrong[i].said))
			fail_msg("%s: %s", wrong[i].spec, diag.entries[0].message);
		sl_diag_free(&diag);
	}
}

static int parse_list(const char *text, struct sl_sink_config **out, size_t *n,
		      struct sl_diag *diag)
{
	struct sl_yaml yaml;
	int err;

	sl_yaml_open(&yaml, text, strlen(text), "s.yaml", diag);
	sl_yaml_next(&yaml);
	err = sl_sinks_parse_yaml(&yaml, out, n, diag);
	if (!err) {
		assert_int_equal(yaml.type, SL_YAML_LIST_END);	/* its last event */
		sl_yaml_next(&yaml);
		assert_int_equal(yaml.type, SL_YAML_END);
	}
	sl_yaml_close(&yaml);
	return err;
}

static void test_yaml(void **state)
{
	struct sl_sink_config *list = NULL;
	struct sl_diag diag = {};
	size_t n = 0;

	assert_int_equal(
		parse_list("- file: /var/log/a,b.jsonl\n  rotate: 10MiB\n  keep: 5\n"
			   "- {journald: , format: ocsf}\n- stdout\n- unix:/run/x,mode=0600\n",
			   &list, &n, &diag),
		0);
	assert_int_equal(n, 4);
	assert_string_equal(list[0].path, "/var/log/a,b.jsonl");
	assert_true(list[0].rotate_bytes == 10u << 20 && list[0].keep == 5);
	assert_true(list[1].kind == SL_SINK_JOURNALD && list[1].format == SL_SINK_OCSF);
	assert_true(list[2].kind == SL_SINK_STDOUT && list[3].mode == 0600);
	while (n)
		sl_sink_config_free(&list[--n]);
	free(list);
	assert_int_equal(parse_list("- file: /a\n  rotate: big\n- unix: [a]\n- {keep: 3}\n- []\n",
				    &list, &n, &diag),
			 -EINVAL);
	assert_int_equal(diag.n_errors, 4);
	assert_true(diag.entries[0].pos.line == 2 && diag.entries[0].pos.column == 3);
	assert_non_null(strstr(diag.entries[0].message, "rotate: 'big'"));
	assert_non_null(strstr(diag.entries[1].message, "unix: one value is wanted"));
	assert_non_null(strstr(diag.entries[2].message, "what kind of sink?"));
	assert_non_null(strstr(diag.entries[3].message, "a sink is wanted"));
	sl_diag_free(&diag);
}

/* ---- the queue ---- */

/* Whatever is pushed and taken: the numbers that come out, gaps filled in, are all of
 * them in order, and what push says is lost is what gaps stand for. */
static void test_queue_accounts_for_all(void **state)
{
	struct sl_queue q;
	__u64 expected = 0, lost = 0, gaps = 0, n = 0;

	assert_int_equal(sl_queue_init(&q, 16), 0);
	srand(1);
	for (int round = 0; round < 20000; round++) {
		for (int i = rand() % 20; i; i--) {
			struct sl_line *line = sl_line_new("x", 1, n++, SL_LEVEL_INFO);

			lost += sl_queue_push(&q, line);
			sl_line_drop(line);
		}
		for (int i = rand() % 20; i && q.n; i--) {
			struct sl_line *line = *sl_queue_at(&q, 0);

			assert_true(line->first == expected);
			expected = line->seq + 1;
			gaps += line->gap ? line->seq - line->first + 1 : 0;
			sl_queue_pop(&q, 1);
		}
		assert_true(q.n <= q.cap && sl_queue_records(&q) <= q.n);
	}
	while (q.n) {
		expected = (*sl_queue_at(&q, 0))->seq + 1;
		gaps += (*sl_queue_at(&q, 0))->gap ? (*sl_queue_at(&q, 0))->seq -
						     (*sl_queue_at(&q, 0))->first + 1 : 0;
		sl_queue_pop(&q, 1);
	}
	sl_queue_settle(&q);	/* the last gap has no line behind it */
	if (q.n) {
		assert_true((*sl_queue_at(&q, 0))->first == expected);
		expected = (*sl_queue_at(&q, 0))->seq + 1;
		gaps += (*sl_queue_at(&q, 0))->seq - (*sl_queue_at(&q, 0))->first + 1;
	}
	assert_true(expected == n && gaps == lost && lost > 1000);
	sl_queue_free(&q);
}

/* ---- what is written ---- */

static json_t *hostile_record(void)
{
	/* any byte but NUL is text that jansson takes, if it is UTF-8 */
	return json_pack(
		"{s:s, s:i, s:s, s:s, s:s, s:s, s:{s:s, s:i, s:s}, s:{s:i, s:i, s:s}, s:n}", "time",
		"2026-11-26T05:21:20.715092432Z", "seq", 7, "event", "connection", "verdict",
		"deny", "reason", "default", "protocol", "tcp", "destination", "address",
		"2001:db8::1", "port", 443, "name", "a\n\"]\\\x1b[2J\xe2\x80\xae.example",
		"process", "pid", 42, "uid", 0, "comm", "x\ny", "rule");
}

static char *rendered(enum sl_shape shape, enum sl_sink_format format, size_t *len)
{
	json_t *record = hostile_record();
	struct sl_line *line = sl_render(sl_variant(shape, format), record, 7, SL_LEVEL_WARNING);
	char *text = malloc(line->len + 1);

	memcpy(text, line->bytes, line->len);
	text[line->len] = 0;
	*len = line->len;
	assert_true(line->seq == 7);
	sl_line_drop(line);
	json_decref(record);
	return text;
}

static void assert_one_plain_line(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_true((text[i] >= 0x20 && text[i] < 0x7f) ||
			    (text[i] == '\n' && i == len - 1));
}

static void test_lines_hold_no_byte_of_a_stranger(void **state)
{
	json_t *back, *want = hostile_record();
	size_t len;
	char *text = rendered(SL_SHAPE_LINE, SL_SINK_NATIVE, &len);

	assert_one_plain_line(text, len);
	back = json_loads(text, 0, NULL);
	assert_true(json_equal(back, want));	/* and nothing is lost */
	json_decref(back);
	free(text);
	text = rendered(SL_SHAPE_SYSLOG, SL_SINK_NATIVE, &len);
	assert_one_plain_line(text, len);
	assert_true(!strncmp(text, "1 2026-11-26T05:21:20.715092Z ", 30));	/* microseconds */
	assert_non_null(strstr(text, " connection [meta sequenceId=\"8\"] {"));
	free(text);
	json_decref(want);
}

static void test_journal_fields(void **state)
{
	static const char name[] = "SLUICE_DESTINATION_NAME\n";
	size_t len, value;
	char *text = rendered(SL_SHAPE_JOURNAL, SL_SINK_NATIVE, &len), *at = text, *end;
	unsigned fields = 0;
	bool found = false;

	/* NAME, newline, 64 bits of length, bytes, newline, to the very end */
	for (; at < text + len; at = end + 8 + value + 1, fields++) {
		end = memchr(at, '\n', (size_t)(text + len - at));
		assert_non_null(end);
		assert_true((size_t)(end - at) ==
			    strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"));
		end++;
		for (int i = 8; i--;)
			value = i == 7 ? (unsigned char)end[i] : value << 8 | (unsigned char)end[i];
		assert_true(end + 8 + value < text + len && end[8 + value] == '\n');
		found |= !strncmp(at, name, sizeof(name) - 1) &&
			 !memcmp(end + 8, "a\n\"]\\\x1b[2J\xe2\x80\xae.example", value);
	}
	assert_true(found && fields == 15);	/* and none for the rule, which is null */
	assert_non_null(memmem(text, len, "\ndeny a?\"]\\?[2J", 15) ?:
			memmem(text, len, "deny a?\"]\\?[2J", 14));
	free(text);
}

static void on_close(void *context, const struct sl_event *event, __u64 count)
{
	assert_int_equal(count, 1);
	assert_non_null(sl_event_close(event));
	(*(int *)context)++;
}

/* The end of a flow: its numbers, by direction; two of the same second stay two. */
static void test_a_close(void **state)
{
	struct sl_close_event e = {.named.event = {
		.time_ns = 5, .family = 4, .protocol = IPPROTO_TCP, .destination = {192, 0, 2, 1},
		.destination_port = 443, .rule = SL_NONE, .flags = SL_EVENT_CLOSE |
		SL_EVENT_PARSED | SL_EVENT_PORTS}, .bytes = {[SL_EGRESS] = 1ull << 40, [SL_INGRESS] = 7},
		.lasted_ns = 2500000000, .end = SL_END_RESET};
	struct sl_audit_names names = {.policy = "p", .target_kind = "device", .target = "vnet0"};
	struct sl_aggregate *aggregate;
	json_t *record, *ocsf;
	int n = 0;

	(void)state;
	record = sl_event_json(&names, &e.named.event, 1, 9);
	assert_string_equal(sl_record_text(record, "event"), "close");
	assert_string_equal(sl_record_text(record, "end"), "reset");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(record, "bytes"),
							    "out")), 1ll << 40);
	ocsf = sl_ocsf(record, SL_LEVEL_INFO);
	assert_int_equal(json_integer_value(json_object_get(ocsf, "type_uid")), 400102);
	assert_int_equal(json_integer_value(json_object_get(ocsf, "duration")), 2500);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(ocsf, "traffic"),
							    "bytes_in")), 7);
	json_decref(ocsf);
	json_decref(record);
	e.named.event.flags &= ~SL_EVENT_CLOSE;	/* a decision has none of it */
	record = sl_event_json(&names, &e.named.event, 1, 9);
	assert_true(json_is_null(json_object_get(record, "bytes")));
	assert_true(json_is_null(json_object_get(record, "end")));
	json_decref(record);

	e.named.event.flags |= SL_EVENT_CLOSE;
	aggregate = sl_aggregate_new(on_close, &n);
	sl_aggregate_add(aggregate, &e.named.event);
	sl_aggregate_add(aggregate, &e.named.event);
	assert_int_equal(n, 2);
	assert_false(sl_aggregate_pending(aggregate));
	sl_aggregate_free(aggregate);
}

static void test_ocsf(void **state)
{
	size_t len;
	char *text = rendered(SL_SHAPE_LINE, SL_SINK_OCSF, &len);
	json_t *j = json_loads(text, 0, NULL);

	assert_one_plain_line(text, len);
	assert_int_equal(json_integer_value(json_object_get(j, "class_uid")), 4001);
	assert_int_equal(json_integer_value(json_object_get(j, "type_uid")), 400105);
	assert_int_equal(json_integer_value(json_object_get(j, "disposition_id")), 2);
	assert_true(json_integer_value(json_object_get(j, "time")) == 1795670480715);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "metadata"),
							    "sequence")), 7);
	assert_string_equal(sl_record_text(j, "dst_endpoint", "ip"), "2001:db8::1");
	assert_string_equal(sl_record_text(j, "actor", "process", "user", "uid"), "0");
	json_decref(j);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_wrong_options),
		cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_queue_accounts_for_all),
		cmocka_unit_test(test_lines_hold_no_byte_of_a_stranger),
		cmocka_unit_test(test_journal_fields),
		cmocka_unit_test(test_a_close),
		cmocka_unit_test(test_ocsf),
	};

	return cmocka_run_group_tests_name("sinks", tests, NULL, NULL);
}
