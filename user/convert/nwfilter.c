// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A filter with what it refers to → a policy, and what its device is bound to. */
#include "nwfilter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

#define REFERENCES_MAX 4096

struct collector {
	struct nw_filter **filters; /* of the sources */
	size_t n_filters;
	struct nw_use *uses; /* owned */
	size_t n_uses;
	struct nw_link link;
	struct sl_nwfilter_binding *binding;
	size_t n_references;
	bool bound4, bound6; /* a rule is for bound addresses */
	bool related;	     /* a rule is for RELATED packets, which was said */
	unsigned families;   /* that rules about packets are about: NW_IP4, NW_IP6 */
	struct sl_diag *diag;
};

/* ---- rules and references ---- */

static int add_address(struct sl_nwfilter_binding *binding, const char *text)
{
	char **slot;

	for (size_t i = 0; i < binding->n_addresses; i++)
		if (!strcmp(binding->addresses[i], text))
			return 0;
	slot = SL_ADD(binding->addresses, binding->n_addresses);
	if (!slot)
		return -ENOMEM;
	*slot = strdup(text);
	return *slot ? 0 : -ENOMEM;
}

static int take_rule(struct collector *c, const struct nw_filter *filter, struct nw_rule *rule)
{
	struct nw_use *use;

	if (c->n_uses + c->link.n >= NW_RULES_MAX)
		return sl_error(c->diag, &rule->pos,
				"more than %d rules, with the filters referred to", NW_RULES_MAX);
	if (filter != c->filters[0])
		rule->of = filter->name;
	if (rule->frames)
		return nw_link_rule(&c->link, filter, rule, c->diag);
	if (strcmp(filter->chain, "root"))
		return sl_error(
			c->diag, &rule->pos,
			"a rule about packets in chain \"%.80s\": the chain means nothing to it, "
			"but libvirt puts it behind all rules of chain root: move it to a filter "
			"with chain=\"root\"",
			filter->chain);
	if (rule->states & NW_RELATED && !c->related)
		sl_warn(c->diag, &rule->pos, "RELATED: ICMP errors about a flow always pass here; "
			"a connection that a helper of connection tracking expects (FTP's data) "
			"needs a rule of its own");
	c->related = c->related || rule->states & NW_RELATED;
	use = SL_ADD(c->uses, c->n_uses);
	if (!use)
		return -ENOMEM;
	*use = (struct nw_use){rule, (unsigned)c->n_uses};
	c->families |= rule->box.family == 4 ? NW_IP4 : NW_IP6;
	if (rule->bound && rule->box.family == 4)
		c->bound4 = true;
	else if (rule->bound)
		c->bound6 = true;
	return 0;
}

static struct nw_filter *find_filter(const struct collector *c, const char *name)
{
	for (size_t i = 0; i < c->n_filters; i++)
		if (!strcmp(c->filters[i]->name, name))
			return c->filters[i];
	return NULL;
}

static int walk(struct collector *c, struct nw_filter *filter);

static int take_reference(struct collector *c, const struct nw_reference *reference)
{
	struct nw_filter *filter = find_filter(c, reference->name);
	int err = 0;

	if (++c->n_references > REFERENCES_MAX)
		return sl_error(c->diag, &reference->pos,
				"more than %d references, with those of the filters referred to",
				REFERENCES_MAX);
	for (size_t i = 0; i < reference->n_addresses && !err; i++)
		err = add_address(c->binding, reference->addresses[i]);
	if (err)
		return err;
	if (filter && filter->open)
		return sl_error(c->diag, &reference->pos,
				"filterref \"%.80s\": the filter refers to itself",
				reference->name);
	if (filter)
		return walk(c, filter);
	err = nw_link_own(&c->link, reference->name, &reference->pos, c->diag);
	return err != -ENOENT ? err
			      : sl_error(c->diag, &reference->pos,
					 "filterref \"%.80s\": none of libvirt's own, and not "
					 "given: add the file that `virsh nwfilter-dumpxml %.80s` "
					 "prints to the command",
					 reference->name, reference->name);
}

static int walk(struct collector *c, struct nw_filter *filter)
{
	int err = 0, this = 0;

	filter->open = true;
	for (size_t i = 0;
	     i < filter->n_items && this != -ENOMEM && c->n_references <= REFERENCES_MAX; i++) {
		if (filter->items[i].rule)
			this = take_rule(c, filter, filter->items[i].rule);
		else
			this = take_reference(c, filter->items[i].reference);
		err = this ? this : err;
		if (c->n_uses + c->link.n >= NW_RULES_MAX && this)
			break;
	}
	filter->open = false;
	return err;
}

/* ---- the binding ---- */

/* Of a family that is free beside one that is bound: any address, or it would have none. */
static int bind_addresses(struct collector *c, const struct nw_link_summary *link)
{
	struct sl_nwfilter_binding *b = c->binding;
	bool four = link->ip4_bound || c->bound4, six = link->ip6_bound || c->bound6;
	bool given4 = false, given6 = false;
	int err = 0;

	for (size_t i = 0; i < b->n_addresses; i++) {
		given6 |= strchr(b->addresses[i], ':') != NULL;
		given4 |= strchr(b->addresses[i], ':') == NULL;
	}
	if (!four && !six) {
		while (b->n_addresses)
			free(b->addresses[--b->n_addresses]);
		return 0;
	}
	if (four && !given4)
		err = add_address(b, "ADDRESS");
	if (!err && six && !given6)
		err = add_address(b, "IPV6-ADDRESS");
	if (!err && !four && link->ip4)
		err = add_address(b, "0.0.0.0/0");
	if (!err && !six && link->ip6)
		err = add_address(b, "::/0");
	return err;
}

static void warn_of_families(const struct collector *c, const struct nw_link_summary *link)
{
	static const char text[] =
		"no rule is about %s: libvirt lets all of it pass, and so does the policy. If it "
		"should not pass, add <rule action=\"drop\" direction=\"inout\"><%s/></rule>";
	const struct sl_pos *pos = &c->filters[0]->pos;

	if (link->ip6 && !(c->families & NW_IP6))
		sl_warn(c->diag, pos, text, "IPv6", "all-ipv6");
	if (link->ip4 && !(c->families & NW_IP4))
		sl_warn(c->diag, pos, text, "IPv4", "all");
}

/* ---- all of it ---- */

/* The filter's name as a policy's: `-` for what that may not hold. */
static int take_name(const struct nw_filter *filter, struct sl_nwfilter *out)
{
	out->name = strdup(filter->name);
	out->policy->name = strndup(filter->name, SL_ID_MAX);
	if (!out->name || !out->policy->name)
		return -ENOMEM;
	for (char *c = out->policy->name; *c; c++)
		if (!sl_text_name(c, 1, true))
			*c = '-';
	return 0;
}

static int judge(struct collector *c, const struct nw_link_summary *link, struct sl_policy *policy)
{
	struct nw_tables tables;
	int err = nw_tables_make(c->uses, c->n_uses, link, &tables), checked;

	if (err)
		return err;
	err = nw_device_switches(&tables, link, &policy->device, c->diag);
	checked = nw_tables_check(&tables, c->diag);
	if (!err)
		err = checked;
	if (!err)
		err = nw_tables_answers(&tables, c->diag);
	if (!err)
		err = nw_tables_refusal(&tables, &policy->on_deny, c->diag);
	if (!err)
		err = nw_emit(&tables, policy, c->diag);
	nw_tables_free(&tables);
	return err;
}

static int convert(struct collector *c, struct sl_nwfilter *out)
{
	struct nw_link_summary link;
	int err = walk(c, c->filters[0]);

	if (!err)
		err = nw_link_judge(&c->link, &link, c->diag);
	if (!err)
		err = judge(c, &link, out->policy);
	if (!err)
		err = bind_addresses(c, &link);
	if (!err)
		err = take_name(c->filters[0], out);
	if (err)
		return err;
	out->policy->default_action = SL_DENY;
	/* Connection tracking puts fragments together before a rule sees them. */
	out->policy->fragments_first = true;
	c->binding->mac = link.mac;
	warn_of_families(c, &link);
	return 0;
}

static int parse_all(const struct sl_nwfilter_source *sources, size_t n, struct collector *c)
{
	int err = 0, this;

	for (size_t i = 0; i < n; i++) {
		this = nw_filter_parse(&sources[i], &c->filters[c->n_filters], c->diag);
		if (this == -ENOMEM)
			return this;
		err = this ? this : err;
		if (this)
			continue;
		for (size_t j = 0; j < c->n_filters; j++)
			if (!strcmp(c->filters[j]->name, c->filters[c->n_filters]->name))
				err = sl_error(c->diag, &c->filters[c->n_filters]->pos,
					       "filter \"%.80s\" is given twice",
					       c->filters[j]->name);
		c->n_filters++;
	}
	return err;
}

int sl_nwfilter_read(const struct sl_nwfilter_source *sources, size_t n, struct sl_nwfilter *out,
		     struct sl_diag *diag)
{
	struct sl_nwfilter nwfilter = {.policy = calloc(1, sizeof(*nwfilter.policy))};
	struct collector c = {.filters = calloc(n, sizeof(*c.filters)),
			      .binding = &nwfilter.binding,
			      .diag = diag};
	int err = nwfilter.policy && c.filters ? parse_all(sources, n, &c) : -ENOMEM;

	if (!err)
		err = convert(&c, &nwfilter);
	if (!err)
		*out = nwfilter;
	else
		sl_nwfilter_free(&nwfilter);
	while (c.n_filters)
		nw_filter_free(c.filters[--c.n_filters]);
	free(c.filters);
	free(c.uses);
	free(c.link.rows);
	return err;
}

void sl_nwfilter_free(struct sl_nwfilter *nwfilter)
{
	sl_policy_free(nwfilter->policy);
	free(nwfilter->name);
	for (size_t i = 0; i < nwfilter->binding.n_addresses; i++)
		free(nwfilter->binding.addresses[i]);
	free(nwfilter->binding.addresses);
	*nwfilter = (struct sl_nwfilter){};
}
