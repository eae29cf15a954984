// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdbool.h>	/* before libldns's own */
#include <stdlib.h>
#include <string.h>
#include <ldns/ldns.h>

#include "answer.h"

enum { RECORD_LEAST = 16 };	/* bytes of a record: pointer, type, class, TTL, length, address */

/* ---- in ---- */

static ldns_rdf *question_name(const struct sl_query *query)
{
	return ldns_dname_new_frm_data((uint16_t)query->name_bytes, query->name);
}

static int add_alias(struct sl_upstream *u, const ldns_rdf *target)
{
	struct sl_answer_alias *a = &u->aliases[u->n_aliases];

	if (u->n_aliases == SL_ANSWER_ALIASES || ldns_rdf_size(target) > sizeof(a->name))
		return -EINVAL;
	a->name_bytes = ldns_rdf_size(target);
	memcpy(a->name, ldns_rdf_data(target), a->name_bytes);
	u->n_aliases++;
	return 0;
}

static void put16(__u8 **at, unsigned value)
{
	*(*at)++ = (__u8)(value >> 8);
	*(*at)++ = (__u8)value;
}

/* One more address behind the lesson: what the kernel's learner reads has the question's
 * name as the owner of each. False: it is not to be handed on. */
static bool add_address(const struct sl_query *query, struct sl_upstream *u, const ldns_rr *rr)
{
	const ldns_rdf *address = ldns_rr_rdf(rr, 0);
	__u8 *at = u->lesson + u->lesson_bytes;
	unsigned n;

	if (!u->lesson_bytes) {
		at += sl_question_make(query->name, query->name_bytes, query->type, u->lesson);
		u->lesson[2] = 0x80;	/* QR */
	}
	n = (unsigned)u->lesson[6] << 8 | u->lesson[7];
	if (!address || n == SL_ANSWER_ADDRESSES)
		return false;
	put16(&at, 0xc00c);
	put16(&at, ldns_rr_get_type(rr));
	put16(&at, 1);
	put16(&at, ldns_rr_ttl(rr) >> 16);
	put16(&at, ldns_rr_ttl(rr) & 0xffff);
	put16(&at, (unsigned)ldns_rdf_size(address));
	memcpy(at, ldns_rdf_data(address), ldns_rdf_size(address));
	u->lesson_bytes = (size_t)(at - u->lesson) + ldns_rdf_size(address);
	u->lesson[6] = (__u8)((n + 1) >> 8);
	u->lesson[7] = (__u8)(n + 1);
	return true;
}

/* An HTTPS or SVCB record without what is stripped; its data become one field. False:
 * leave it out. */
static bool strip_record(ldns_rr *rr, unsigned strip)
{
	ldns_buffer *data = ldns_buffer_new(LDNS_MIN_BUFLEN);
	__u8 *stripped = NULL;
	ldns_rdf *field = NULL;
	size_t n = 0;

	if (data && ldns_rr_rdata2buffer_wire(data, rr) == LDNS_STATUS_OK)
		stripped = malloc(ldns_buffer_position(data) + 1);
	if (stripped)
		n = sl_svcb_strip(ldns_buffer_begin(data), ldns_buffer_position(data), strip,
				  stripped);
	if (n)
		field = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN, n, stripped);
	if (field) {
		while (ldns_rr_rd_count(rr))
			ldns_rdf_deep_free(ldns_rr_pop_rdf(rr));
		ldns_rr_push_rdf(rr, field);
	}
	ldns_buffer_free(data);
	free(stripped);
	return field;
}

/* A record at the end of the chain. */
static bool is_handed_on(const struct sl_query *query, struct sl_upstream *u, ldns_rr *rr,
			 unsigned strip)
{
	unsigned type = ldns_rr_get_type(rr);

	if (type != query->type)
		return false;
	if (type == SL_TYPE_A || type == SL_TYPE_AAAA)
		return add_address(query, u, rr);
	if (strip && (type == SL_TYPE_HTTPS || type == SL_TYPE_SVCB))
		return strip_record(rr, strip);
	return true;
}

static int keep(ldns_rr_list *list, const ldns_rr *rr)
{
	ldns_rr *copy = ldns_rr_clone(rr);

	if (copy && ldns_rr_list_push_rr(list, copy))
		return 0;
	ldns_rr_free(copy);
	return -ENOMEM;
}

/* The chain is followed as the kernel does it: in the answer's order, by whom a record
 * belongs to. */
static int read_records(const struct sl_query *query, const ldns_rr_list *answers, unsigned strip,
			struct sl_upstream *u)
{
	ldns_rdf *own = question_name(query), *current = own;
	int err = own ? 0 : -ENOMEM;
	bool alias;
	ldns_rr *rr;

	for (size_t i = 0; !err && i < ldns_rr_list_rr_count(answers); i++) {
		rr = ldns_rr_list_rr(answers, i);
		if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
		    ldns_dname_compare(ldns_rr_owner(rr), current))
			continue;
		alias = ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rdf(rr, 0);
		if (alias)
			err = add_alias(u, ldns_rr_rdf(rr, 0));
		if (!err && (alias || is_handed_on(query, u, rr, strip)))
			err = keep(u->records, rr);
		if (alias)
			current = ldns_rr_rdf(rr, 0);
	}
	ldns_rdf_deep_free(own);
	return err;
}

static int read_soa(const ldns_rr_list *authority, struct sl_upstream *u)
{
	int err = 0;

	for (size_t i = 0; !err && i < ldns_rr_list_rr_count(authority); i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(authority, i)) == LDNS_RR_TYPE_SOA)
			err = keep(u->soa, ldns_rr_list_rr(authority, i));
	return err;
}

int sl_upstream_read(const struct sl_query *query, const __u8 *message, size_t length,
		     unsigned strip, struct sl_upstream *out)
{
	struct sl_upstream *u = out;
	ldns_pkt *pkt;
	int err;

	memset(u, 0, sizeof(*u));
	if (ldns_wire2pkt(&pkt, message, length) != LDNS_STATUS_OK)
		return -EINVAL;
	u->rcode = ldns_pkt_get_rcode(pkt);
	u->records = ldns_rr_list_new();
	u->soa = ldns_rr_list_new();
	err = u->records && u->soa ? read_records(query, ldns_pkt_answer(pkt), strip, u) : -ENOMEM;
	if (!err)
		err = read_soa(ldns_pkt_authority(pkt), u);
	ldns_pkt_free(pkt);
	if (err)
		sl_upstream_free(u);
	return err;
}

void sl_upstream_free(struct sl_upstream *u)
{
	ldns_rr_list_deep_free(u->records);
	ldns_rr_list_deep_free(u->soa);
	u->records = u->soa = NULL;
}

/* ---- out ---- */

static ldns_rr *question_record(const struct sl_query *query)
{
	ldns_rdf *name = question_name(query);
	ldns_rr *rr = name ? ldns_rr_new() : NULL;

	if (!rr) {
		ldns_rdf_deep_free(name);
		return NULL;
	}
	ldns_rr_set_question(rr, true);
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_type(rr, query->type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	return rr;
}

static int push_copies(ldns_pkt *pkt, ldns_pkt_section section, const ldns_rr_list *list, size_t n)
{
	ldns_rr *rr;

	for (size_t i = 0; i < n; i++) {
		rr = ldns_rr_clone(ldns_rr_list_rr(list, i));
		if (!rr || !ldns_pkt_push_rr(pkt, section, rr)) {
			ldns_rr_free(rr);
			return -ENOMEM;
		}
	}
	return 0;
}

static int fill(ldns_pkt *pkt, const struct sl_query *query, const struct sl_upstream *u, size_t n,
		bool cut)
{
	ldns_rr *question = question_record(query);
	int err;

	if (!question || !ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION, question)) {
		ldns_rr_free(question);
		return -ENOMEM;
	}
	ldns_pkt_set_id(pkt, query->id);
	ldns_pkt_set_qr(pkt, true);
	ldns_pkt_set_ra(pkt, true);
	ldns_pkt_set_rd(pkt, query->recursion);
	ldns_pkt_set_cd(pkt, query->checking_disabled);
	ldns_pkt_set_tc(pkt, cut);
	ldns_pkt_set_rcode(pkt, u->rcode & 0xf);
	if (query->edns)
		ldns_pkt_set_edns_udp_size(pkt, SL_EDNS_SIZE);
	err = push_copies(pkt, LDNS_SECTION_ANSWER, u->records, n);
	return err || cut ? err : push_copies(pkt, LDNS_SECTION_AUTHORITY, u->soa,
					      ldns_rr_list_rr_count(u->soa));
}

/* With the first n records. */
static int write_some(const struct sl_query *query, const struct sl_upstream *u, size_t n, bool cut,
		      __u8 **out, size_t *length)
{
	ldns_pkt *pkt = ldns_pkt_new();
	int err = pkt ? fill(pkt, query, u, n, cut) : -ENOMEM;

	if (!err && ldns_pkt2wire(out, pkt, length) != LDNS_STATUS_OK)
		err = -ENOMEM;
	ldns_pkt_free(pkt);
	return err;
}

int sl_upstream_write(const struct sl_query *query, const struct sl_upstream *u, size_t max,
		      __u8 **out, size_t *length)
{
	size_t all = ldns_rr_list_rr_count(u->records), n = all;
	__u8 *message;
	bool cut = false;
	int err;

	for (;;) {
		err = write_some(query, u, n, cut, &message, length);
		if (err)
			return err;
		if (*length <= max) {
			*out = message;
			return 0;
		}
		free(message);
		if (cut && !n)
			return -EMSGSIZE;
		if (cut)
			n -= 1 + n / 16;	/* each time costs a whole message */
		else if (n > max / RECORD_LEAST)
			n = max / RECORD_LEAST;
		cut = true;
	}
}
