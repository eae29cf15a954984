// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <netinet/in.h>
#include <string.h>
#include <time.h>

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

static __u64 boot_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (__u64)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void sl_ask(const struct sl_loaded *loaded, const struct sl_test *flow, bool inbound,
	    struct sl_asked *out)
{
	struct sl_question question = {
		.now_ns = boot_now_ns(),
		.uid = flow->uid,
		.key = flow_key(flow),
		.protocol = flow->protocol,
		.inbound = inbound,
		.has_uid = flow->has_uid,
	};

	sl_question_address(&question, &flow->address);
	*out = (struct sl_asked){
		.flow = flow,
		.inbound = inbound,
		.now_ns = question.now_ns,
		.judged = judged_address(&flow->address),
	};
	/* False leaves a denial with its reason in the answer. */
	sl_table_judge(&loaded->compiled.table, &question, &out->answer);
}

const char *sl_asked_rule(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	if (asked->answer.rule >= loaded->compiled.n_rules)
		return NULL;
	return loaded->compiled.rules[asked->answer.rule].id;
}
