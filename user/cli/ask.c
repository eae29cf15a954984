// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#include "ask.h"

const char *sl_reason_text(unsigned reason)
{
	static const char *const texts[] = {
#define TEXT(name, word, text) text,
		SL_REASONS(TEXT)
#undef TEXT
	};

	return reason < SL_REASON_MAX ? texts[reason] : "a reason that has no name";
}

/* docs/policy.md: ::ffff:0:0/96 and 64:ff9b::/96 are judged as the IPv4 address
 * in their last 32 bits. Not the reader's code: explain checks one by the other. */
static struct sl_cidr judged_address(const struct sl_cidr *address)
{
	static const __u8 mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const __u8 nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	struct sl_cidr ipv4 = {.family = 4, .len = 32};

	if (address->family != 6 ||
	    (memcmp(address->addr, mapped, 12) && memcmp(address->addr, nat64, 12)))
		return *address;
	memcpy(ipv4.addr, address->addr + 12, 4);
	return ipv4;
}

static __u16 flow_key(const struct sl_test *flow)
{
	if (flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6)
		return flow->icmp_type << 8 | flow->icmp_code;
	return flow->port;
}

static struct sl_cidr address_of(const struct sl_question *q)
{
	struct sl_cidr address = {.family = q->family, .len = q->family == 4 ? 32 : 128};
	__be64 v6[2] = {htobe64(q->address_high), htobe64(q->address_low)};
	__be32 v4 = htobe32((__u32)q->address_low);

	memcpy(address.addr, q->family == 4 ? (void *)&v4 : v6, q->family == 4 ? 4 : 16);
	return address;
}

/* Unread tables leave a denial with its reason in the answer. */
static void connect_to(const struct sl_loaded *loaded, struct sl_question *question,
		       struct sl_asked *out)
{
	out->connects = true;
	if (out->owner)
		sl_names_connection(&loaded->compiled, question, &out->owner, 1, &out->answer);
	else
		sl_table_judge(&loaded->compiled.table, question, &out->answer);
}

static void ask_name(const struct sl_loaded *loaded, const struct sl_question *flow,
		     struct sl_asked *out)
{
	static const int families[] = {4, 6};
	struct sl_asked first;

	out->answer = out->question;
	for (int i = 0; i < 2 && !out->flow->question_only && !out->question.deny; i++) {
		struct sl_question question = *flow;

		first = *out;
		sl_table_common_address(&loaded->compiled.table, families[i], &question);
		out->judged = address_of(&question);
		connect_to(loaded, &question, out);
		if (!out->answer.deny)
			return;
		/* Where both are denied the IPv4 one is told. */
		if (i)
			*out = first;
	}
}

void sl_ask(const struct sl_loaded *loaded, const struct sl_test *flow, bool inbound,
	    const char *owner, struct sl_asked *out)
{
	struct sl_question question = {
		.now_ns = sl_boot_ns(),
		.uid = flow->uid,
		.key = flow_key(flow),
		.protocol = flow->protocol,
		.inbound = inbound,
		.has_uid = flow->has_uid,
	};

	*out = (struct sl_asked){
		.flow = flow,
		.inbound = inbound,
		.now_ns = question.now_ns,
		.owner = flow->name ? flow->name : owner,
	};
	if (out->owner)
		sl_names_question(&loaded->compiled, out->owner, out->now_ns, &out->question);
	if (flow->name) {
		ask_name(loaded, &question, out);
		return;
	}
	out->judged = judged_address(&flow->address);
	sl_question_address(&question, &flow->address);
	connect_to(loaded, &question, out);
}

const char *sl_answer_rule(const struct sl_loaded *loaded, const struct sl_answer *answer)
{
	if (answer->rule >= loaded->compiled.n_rules)
		return NULL;
	return loaded->compiled.rules[answer->rule].id;
}

const char *sl_asked_rule(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	return sl_answer_rule(loaded, &asked->answer);
}
