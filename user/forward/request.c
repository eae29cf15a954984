// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * From a question to its answer: the kernel judges it, a resolver is asked, the kernel
 * judges the chain and learns the addresses, and only then is it answered.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "kernel/gate.h"
#include "server.h"

static void reply(struct sl_server *s, const struct sl_client *client, const struct sl_query *query,
		  unsigned rcode, int ede, const char *text)
{
	__u8 out[SL_DNS_SMALL_MAX];
	size_t n = sl_reply_make(query, rcode, ede, text, out);

	sl_client_send(s, client, out, n);
}

static const char *reason_word(__u32 reason)
{
	static const char *const words[] = {
#define WORD(name, word, text) [SL_REASON_##name] = word,
		SL_REASONS(WORD)
#undef WORD
	};

	return reason < SL_REASON_MAX ? words[reason] : "";
}

/* The rule's id; where none decided, the reason. */
static const char *who_refused(const struct sl_server *s, const struct sl_ask *ask)
{
	const struct sl_compiled *c = s->options.compiled;

	return ask->rule < c->n_rules ? c->rules[ask->rule].id : reason_word(ask->reason);
}

/* NXDOMAIN for a name: it does not end a search list. A type that is not listed says
 * nothing about the name; a rate nothing about the question. */
static void refuse(struct sl_server *s, const struct sl_client *client,
		   const struct sl_query *query, const struct sl_ask *ask)
{
	unsigned rcode = SL_RCODE_NXDOMAIN;
	int ede = SL_EDE_BLOCKED;

	if (ask->flags & SL_F_DROP)
		return;
	if (ask->reason == SL_REASON_DNS_TYPE)
		rcode = SL_RCODE_NONE;
	if (ask->reason == SL_REASON_DNS_RATE) {
		rcode = SL_RCODE_REFUSED;
		ede = SL_EDE_OTHER;
	}
	reply(s, client, query, rcode, ede, who_refused(s, ask));
}

/* ---- answers ---- */

/* The first alias that a rule denies is answered for: true. */
static bool refuse_alias(struct sl_request *r, const struct sl_upstream *u)
{
	struct sl_server *s = r->server;
	__u8 question[SL_DNS_SMALL_MAX];
	size_t n;

	for (size_t i = 0; i < u->n_aliases; i++) {
		struct sl_ask ask = {
			.what = SL_ASK_ALIAS,
			.client = ntohl(r->client.address.sin_addr.s_addr),
			.client_port = ntohs(r->client.address.sin_port),
			.forwarder = ntohl(s->address.sin_addr.s_addr),
			.forwarder_port = ntohs(s->address.sin_port),
			.protocol = r->client.stream < 0 ? IPPROTO_UDP : IPPROTO_TCP,
		};

		n = sl_question_make(u->aliases[i].name, u->aliases[i].name_bytes, r->query.type,
				     question);
		switch (sl_gate_ask(s->options.gate_fd, &ask, question, n)) {
		case SL_ASK_PASS:
			continue;
		case SL_ASK_REFUSED:
			refuse(s, &r->client, &r->query, &ask);
			return true;
		}
		reply(s, &r->client, &r->query, SL_RCODE_SERVFAIL, SL_EDE_NONE, NULL);
		return true;
	}
	return false;
}

static void learn(struct sl_request *r, const struct sl_upstream *u)
{
	struct sl_ask ask = {.what = SL_ASK_LEARN};

	if (u->lesson_bytes && u->rcode == SL_RCODE_NONE)
		sl_gate_ask(r->server->options.gate_fd, &ask, u->lesson, u->lesson_bytes);
}

static void answer(struct sl_request *r, const struct sl_upstream *u)
{
	size_t max = r->client.stream < 0 ? r->query.udp_size : SL_DNS_WIRE_MAX, n;
	__u8 *message;

	if (refuse_alias(r, u))
		return;
	learn(r, u);
	if (sl_upstream_write(&r->query, u, max, &message, &n)) {
		reply(r->server, &r->client, &r->query, SL_RCODE_SERVFAIL, SL_EDE_OTHER, NULL);
		return;
	}
	sl_client_send(r->server, &r->client, message, n);
	free(message);
}

static void on_resolved(void *context, const __u8 *message, size_t length)
{
	struct sl_request *r = context;
	struct sl_upstream upstream;

	if (!message || sl_upstream_read(&r->query, message, length,
					 r->server->options.policy->dns.strip, &upstream)) {
		reply(r->server, &r->client, &r->query, SL_RCODE_SERVFAIL, SL_EDE_UNREACHABLE,
		      NULL);
	} else {
		answer(r, &upstream);
		sl_upstream_free(&upstream);
	}
	r->used = false;
}

/* ---- questions ---- */

static struct sl_request *find_free(struct sl_server *s)
{
	for (size_t i = 0; i < SL_REQUESTS; i++)
		if (!s->requests[i].used)
			return &s->requests[i];
	return NULL;
}

static void ask_resolver(struct sl_server *s, const struct sl_client *client,
			 const struct sl_query *query)
{
	struct sl_request *r = find_free(s);

	if (r) {
		*r = (struct sl_request){.server = s, .client = *client, .query = *query,
					 .used = true};
		if (!sl_resolver_ask(s->options.resolver, &r->query, on_resolved, r))
			return;
		r->used = false;
	}
	reply(s, client, query, SL_RCODE_SERVFAIL, SL_EDE_OTHER, NULL);
}

static void malformed(struct sl_server *s, const struct sl_client *client, const __u8 *message,
		      size_t length)
{
	__u8 out[SL_DNS_SMALL_MAX];
	size_t n = sl_reply_malformed(message, length, out);

	if (n)
		sl_client_send(s, client, out, n);
}

bool sl_request_take(struct sl_server *s, const struct sl_client *client, const __u8 *message,
		     size_t length)
{
	struct sl_ask ask = {
		.what = SL_ASK_QUESTION,
		.client = ntohl(client->address.sin_addr.s_addr),
		.client_port = ntohs(client->address.sin_port),
		.forwarder = ntohl(s->address.sin_addr.s_addr),
		.forwarder_port = ntohs(s->address.sin_port),
		.protocol = client->stream < 0 ? IPPROTO_UDP : IPPROTO_TCP,
	};
	/* What is longer is no question either way. */
	size_t n = length < SL_ASK_MESSAGE_MAX ? length : SL_ASK_MESSAGE_MAX;
	int verdict = sl_gate_ask(s->options.gate_fd, &ask, message, n);
	struct sl_query query;

	if (verdict == SL_ASK_STRANGER)
		return false;
	if (ask.reason == SL_REASON_DNS_MALFORMED || sl_query_read(message, length, &query))
		malformed(s, client, message, length);
	else if (verdict == SL_ASK_PASS)
		ask_resolver(s, client, &query);
	else if (verdict == SL_ASK_REFUSED)
		refuse(s, client, &query, &ask);
	else
		reply(s, client, &query, SL_RCODE_SERVFAIL, SL_EDE_OTHER, NULL);
	return true;
}
