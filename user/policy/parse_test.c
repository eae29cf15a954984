// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The list of tests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "parser.h"
#include "text.h"

struct flow_state {
	struct sl_test *test;
	int port, protocol;	/* -1: not written */
	struct sl_icmp icmp;
};

static void to_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct flow_state *state = object;

	if (!sl_is_text(p, key))
		return;
	if (sl_flow_host(p->yaml.scalar, p->yaml.scalar_len, &p->yaml.pos, state->test,
			 p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void port_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct flow_state *state = object;
	__u64 number;

	if (!sl_number_read(p, key, 65535, &number))
		return;
	if (number)
		state->port = (int)number;
	else
		sl_wrong_value(p, key);
}

static void protocol_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {"tcp", "udp", "icmp", "icmpv6", "sctp", NULL};
	struct flow_state *state = object;
	__u64 number;

	if (p->yaml.type == SL_YAML_SCALAR &&
	    sl_text_number(p->yaml.scalar, p->yaml.scalar_len, 255, &number))
		state->protocol = (int)number;
	else if (sl_word_read(p, key, words) >= 0)
		sl_protocol_number(p->yaml.scalar, p->yaml.scalar_len, &state->protocol);
}

static void icmp_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct flow_state *state = object;

	sl_icmp_read(p, key, &state->icmp);
}

static void uid_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct flow_state *state = object;
	__u64 number;

	if (!sl_number_read(p, key, 4294967294u, &number))
		return;
	state->test->has_uid = true;
	state->test->uid = (__u32)number;
}

static void mapping_read(struct sl_parser *p, struct flow_state *state)
{
	static sl_value_fn *const values[] = {
		[SL_FLOW_TO] = to_read,
		[SL_FLOW_PORT] = port_read,
		[SL_FLOW_PROTOCOL] = protocol_read,
		[SL_FLOW_ICMP] = icmp_read,
		[SL_FLOW_UID] = uid_read,
	};
	struct sl_test *test = state->test;
	size_t errors = p->diag->n_errors;
	struct sl_pos pos = p->yaml.pos;
	struct sl_map map;

	sl_map_read(p, &sl_keys_flow, values, state, &map);
	if (p->yaml.type == SL_YAML_END || p->diag->n_errors > errors)
		return;
	if (!map.lines[SL_FLOW_TO]) {
		sl_error(p->diag, &pos, "\"to\" is missing: which address or name?");
		return;
	}
	if (state->icmp.written) {
		test->icmp_type = state->icmp.type;
		test->icmp_code = state->icmp.code < 0 ? 0 : (__u8)state->icmp.code;
	}
	if (sl_flow_finish(test, state->port, state->protocol, state->icmp.written, &pos,
			   p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void text_read(struct sl_parser *p, struct flow_state *state)
{
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;

	if (sl_flow_parse_n(text, len, &p->yaml.pos, state->test, p->diag) == -ENOMEM)
		sl_parser_no_memory(p);
}

static void flow_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct flow_state *state = object;

	state->test->want = strcmp(key->name, "deny") ? SL_ALLOW : SL_DENY;
	if (p->yaml.type == SL_YAML_MAP)
		mapping_read(p, state);
	else if (sl_is_text(p, key))
		text_read(p, state);
}

static void test_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_TEST_ALLOW] = flow_read,
		[SL_TEST_DENY] = flow_read,
	};
	struct sl_policy *policy = object;
	struct flow_state state = {.port = -1, .protocol = -1};
	struct sl_pos pos = p->yaml.pos;
	char buf[SL_QUOTE_MAX + 32];
	struct sl_map map;

	(void)key;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_error(p->diag, &pos, "a test is a mapping, as \"allow: 192.0.2.1:443\"; found "
			 "%s", sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		sl_yaml_skip(&p->yaml);
		return;
	}
	state.test = SL_ADD(policy->tests, policy->n_tests);
	if (!state.test) {
		sl_parser_no_memory(p);
		return;
	}
	sl_map_read(p, &sl_keys_test, values, &state, &map);
	state.test->pos = pos;
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_TEST_ALLOW] == !map.lines[SL_TEST_DENY] && !map.faulty)
		sl_error(p->diag, &pos, "a test has one of \"allow\" and \"deny\"");
}

void sl_tests_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, test_read, object, true);
}
