// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * An XML document → a filter as written. What libvirt would pass over in silence (an
 * unknown attribute, a priority that is no number) is an error here.
 */
#include <errno.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

struct reader {
	xmlDoc *doc;
	const char *file;
	struct sl_diag *diag;
};

static struct sl_pos place(const struct reader *r, const xmlNode *node)
{
	long line = xmlGetLineNo((xmlNode *)node);

	return (struct sl_pos){.file = r->file, .line = line > 0 ? (unsigned)line : 0};
}

#define WRONG(r, node, ...)                                                                        \
	({                                                                                         \
		struct sl_pos pos_ = place((r), (node));                                           \
		sl_error((r)->diag, &pos_, __VA_ARGS__);                                           \
	})

static const char *name_of(const xmlNode *node)
{
	return (const char *)node->name;
}

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp(name_of(node), name);
}

/* ---- attributes ---- */

/* Owned; NULL when out of memory. */
static char *value_of(const struct reader *r, const xmlAttr *a)
{
	char *value = (char *)xmlNodeListGetString(r->doc, a->children, 1);

	return value ? value : strdup("");
}

/* Every attribute must be one of the words; the values go to values[], owned. */
static int read_attributes(const struct reader *r, const xmlNode *node, const char *const *words,
			   char **values)
{
	const char *near;
	int err = 0;

	for (xmlAttr *a = node->properties; a; a = a->next) {
		const char *name = (const char *)a->name;
		size_t i = 0;

		while (words[i] && strcmp(words[i], name))
			i++;
		/* Those of another namespace may repeat a name. */
		if (words[i] && !a->ns && !values[i]) {
			values[i] = value_of(r, a);
			if (!values[i])
				return -ENOMEM;
			continue;
		}
		near = a->ns ? NULL : sl_nearest(name, strlen(name), words);
		err = WRONG(r, node,
			    "<%.40s> has no attribute \"%.80s\"%s%s%s: correct it, or take it out",
			    name_of(node), name, near ? "; is \"" : "", near ? near : "",
			    near ? "\" meant?" : "");
	}
	return err;
}

static void free_values(char **values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(values[i]);
}

/* The index of value in words, or -EINVAL with an error. */
static int read_word(const struct reader *r, const xmlNode *node, const char *name,
		     const char *value, const char *const *words)
{
	char list[128];
	size_t used = 0;

	for (int i = 0; value && words[i]; i++)
		if (!strcmp(words[i], value))
			return i;
	*list = '\0';
	for (int i = 0; words[i] && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 words[i]);
	return WRONG(r, node, "<%.40s> wants %s, one of %s; found %s%.80s%s", name_of(node), name,
		     list, value ? "\"" : "", value ? value : "none", value ? "\"" : "");
}

static int read_priority(const struct reader *r, const xmlNode *node, const char *value,
			 int *priority)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno || end == value || *end || number < -1000 || number > 1000)
		return WRONG(r, node, "priority=\"%.80s\": a number from -1000 to 1000 is wanted",
			     value);
	*priority = (int)number;
	return 0;
}

/* ---- <rule> ---- */

enum { RULE_ACTION, RULE_DIRECTION, RULE_PRIORITY, RULE_STATEMATCH, RULE_N };

static const char *const rule_words[] = {"action", "direction", "priority", "statematch", NULL};

static int read_rule_values(const struct reader *r, const xmlNode *node, char **values,
			    struct nw_rule *rule)
{
	static const char *const actions[] = {"accept", "drop",	    "reject",
					      "return", "continue", NULL};
	static const char *const directions[] = {"out", "in", "inout", NULL};
	static const char *const switches[] = {"0", "false", "1", "true", NULL};
	int action = read_word(r, node, "action", values[RULE_ACTION], actions);
	int direction = read_word(r, node, "direction", values[RULE_DIRECTION], directions);
	int state = 2, err = 0;

	if (values[RULE_STATEMATCH])
		state = read_word(r, node, "statematch", values[RULE_STATEMATCH], switches);
	rule->priority = 500;
	if (values[RULE_PRIORITY])
		err = read_priority(r, node, values[RULE_PRIORITY], &rule->priority);
	if (action < 0 || direction < 0 || state < 0 || err)
		return -EINVAL;
	rule->action = (enum nw_action)action;
	rule->directions = (unsigned)direction + 1;
	rule->stateless = state < 2;
	return 0;
}

static int read_protocol(const struct reader *r, const xmlNode *node, struct nw_rule *rule)
{
	struct nw_attribute *attributes = NULL, *slot;
	size_t n = 0;
	int err = 0;

	for (xmlAttr *a = node->properties; a && !err; a = a->next) {
		slot = SL_ADD(attributes, n);
		if (!slot) {
			err = -ENOMEM;
			break;
		}
		slot->name = a->ns ? "(of a namespace)" : (const char *)a->name;
		slot->value = value_of(r, a);
		if (!slot->value)
			err = -ENOMEM;
	}
	rule->pos = place(r, node);
	if (!err)
		err = nw_rule_protocol(rule, name_of(node), attributes, n, r->diag);
	while (n)
		free(attributes[--n].value);
	free(attributes);
	return err;
}

/* The one element in a rule, or NULL; text between elements is an error. */
static int one_child(const struct reader *r, const xmlNode *node, const xmlNode **out)
{
	*out = NULL;
	for (const xmlNode *child = node->children; child; child = child->next) {
		if (child->type == XML_COMMENT_NODE || xmlIsBlankNode(child))
			continue;
		if (child->type != XML_ELEMENT_NODE)
			return WRONG(r, child, "text inside <%.40s>: take it out", name_of(node));
		if (*out)
			return WRONG(r, child,
				     "<%.40s>: a second protocol in one rule: write a rule for "
				     "each",
				     name_of(child));
		*out = child;
	}
	return 0;
}

static int read_rule(const struct reader *r, const xmlNode *node, struct nw_rule *rule)
{
	char *values[RULE_N] = {};
	const xmlNode *child;
	int err;

	rule->pos = place(r, node);
	err = read_attributes(r, node, rule_words, values);
	if (!err)
		err = read_rule_values(r, node, values, rule);
	if (!err)
		err = one_child(r, node, &child);
	if (!err && child)
		err = read_protocol(r, child, rule);
	else if (!err)
		rule->frames = NW_EVERY_FRAME;
	free_values(values, RULE_N);
	return err;
}

/* ---- <filterref> ---- */

static int add_address(struct nw_reference *reference, const char *text)
{
	char **slot = SL_ADD(reference->addresses, reference->n_addresses);

	if (!slot)
		return -ENOMEM;
	*slot = strdup(text);
	return *slot ? 0 : -ENOMEM;
}

static int take_parameter(const struct reader *r, const xmlNode *node, const char *name,
			  const char *value, struct nw_reference *reference)
{
	struct sl_cidr cidr;
	bool masked;
	int family = !strcmp(name, "IP") ? 4 : !strcmp(name, "IPV6") ? 6 : 0;

	if (family) {
		if (sl_cidr_parse(value, strlen(value), &cidr, &masked) || cidr.family != family ||
		    strchr(value, '/'))
			return WRONG(r, node, "parameter %s: \"%.80s\" is no IPv%d address", name,
				     value, family);
		return add_address(reference, value);
	}
	if (strcmp(name, "CTRL_IP_LEARNING"))
		return WRONG(r, node,
			     "parameter \"%.80s\": only IP, IPV6 and CTRL_IP_LEARNING have a "
			     "meaning here: write its value where it is used",
			     name);
	if (!strcmp(value, "dhcp"))
		return add_address(reference, "dhcp");
	if (strcmp(value, "any") && strcmp(value, "none"))
		return WRONG(r, node, "CTRL_IP_LEARNING is any, dhcp or none; found \"%.80s\"",
			     value);
	return 0;
}

static int read_parameter(const struct reader *r, const xmlNode *node,
			  struct nw_reference *reference)
{
	static const char *const words[] = {"name", "value", NULL};
	char *values[2] = {};
	int err = read_attributes(r, node, words, values);

	if (!err && values[0] && values[1])
		err = take_parameter(r, node, values[0], values[1], reference);
	else if (!err)
		err = WRONG(r, node, "<parameter> wants a name and a value");
	free_values(values, 2);
	return err;
}

static int read_reference(const struct reader *r, const xmlNode *node,
			  struct nw_reference *reference)
{
	static const char *const words[] = {"filter", NULL};
	int err;

	reference->pos = place(r, node);
	err = read_attributes(r, node, words, &reference->name);
	if (!err && !reference->name)
		err = WRONG(r, node, "<filterref> wants filter=\"NAME\"");
	for (const xmlNode *child = node->children; child && err != -ENOMEM; child = child->next) {
		int this = 0;

		if (is_element(child, "parameter"))
			this = read_parameter(r, child, reference);
		else if (child->type != XML_COMMENT_NODE && !xmlIsBlankNode(child))
			this = WRONG(r, child, "<filterref> holds parameters only; found "
				     "\"%.40s\"", name_of(child));
		err = this ? this : err;
	}
	return err;
}

/* ---- <filter> ---- */

static int add_item(const struct reader *r, const xmlNode *node, struct nw_filter *filter)
{
	struct nw_item *item;

	if (filter->n_items == NW_RULES_MAX)
		return WRONG(r, node, "more than %d rules in a filter", NW_RULES_MAX);
	item = SL_ADD(filter->items, filter->n_items);
	if (!item)
		return -ENOMEM;
	if (is_element(node, "rule")) {
		item->rule = calloc(1, sizeof(*item->rule));
		return item->rule ? read_rule(r, node, item->rule) : -ENOMEM;
	}
	item->reference = calloc(1, sizeof(*item->reference));
	return item->reference ? read_reference(r, node, item->reference) : -ENOMEM;
}

static int refuse_item(const struct reader *r, const xmlNode *node)
{
	const char *text = (const char *)node->content;

	if (node->type == XML_ELEMENT_NODE)
		return WRONG(r, node, "a filter holds <rule>, <filterref> and <uuid>; found "
			     "<%.40s>", name_of(node));
	text = text ? text + strspn(text, " \t\r\n") : "";
	return WRONG(r, node, "a filter holds <rule>, <filterref> and <uuid>; found the text "
		     "\"%.40s\"", text);
}

static int read_items(const struct reader *r, const xmlNode *root, struct nw_filter *filter)
{
	int err = 0;

	for (const xmlNode *node = root->children; node && err != -ENOMEM; node = node->next) {
		int this = 0;

		if (is_element(node, "rule") || is_element(node, "filterref"))
			this = add_item(r, node, filter);
		else if (node->type != XML_COMMENT_NODE && node->type != XML_PI_NODE &&
			 !is_element(node, "uuid") && !xmlIsBlankNode(node))
			this = refuse_item(r, node);
		err = this ? this : err;
		if (filter->n_items == NW_RULES_MAX && err)
			break;
	}
	return err;
}

enum { FILTER_NAME, FILTER_CHAIN, FILTER_PRIORITY, FILTER_N };

static int take_filter_values(const struct reader *r, const xmlNode *root, char **values,
			      struct nw_filter *filter)
{
	if (!values[FILTER_NAME] || !*values[FILTER_NAME])
		return WRONG(r, root, "<filter> wants name=\"NAME\"");
	if (!values[FILTER_CHAIN] && !(values[FILTER_CHAIN] = strdup("root")))
		return -ENOMEM;
	filter->name = values[FILTER_NAME];
	filter->chain = values[FILTER_CHAIN];
	values[FILTER_NAME] = values[FILTER_CHAIN] = NULL;
	if (!nw_chain_frames(filter->chain, &filter->chain_priority))
		return WRONG(r, root,
			     "chain=\"%.80s\": a chain is root, or begins with mac, stp, vlan, arp, "
			     "rarp, ipv4 or ipv6",
			     filter->chain);
	if (!values[FILTER_PRIORITY])
		return 0;
	return read_priority(r, root, values[FILTER_PRIORITY], &filter->chain_priority);
}

static int read_filter(const struct reader *r, const xmlNode *root, struct nw_filter *filter)
{
	static const char *const words[] = {"name", "chain", "priority", NULL};
	char *values[FILTER_N] = {};
	int err, items;

	filter->pos = place(r, root);
	if (!is_element(root, "filter"))
		return WRONG(r, root,
			     "<%.40s>: a <filter> is wanted, as `virsh nwfilter-dumpxml NAME` "
			     "prints it",
			     name_of(root));
	err = read_attributes(r, root, words, values);
	if (!err)
		err = take_filter_values(r, root, values, filter);
	free_values(values, FILTER_N);
	if (err == -ENOMEM)
		return err;
	items = read_items(r, root, filter);
	return items ? items : err;
}

void nw_filter_free(struct nw_filter *filter)
{
	if (!filter)
		return;
	for (size_t i = 0; i < filter->n_items; i++) {
		struct nw_reference *reference = filter->items[i].reference;

		if (filter->items[i].rule)
			free(filter->items[i].rule->comment);
		free(filter->items[i].rule);
		for (size_t a = 0; reference && a < reference->n_addresses; a++)
			free(reference->addresses[a]);
		if (reference) {
			free(reference->addresses);
			free(reference->name);
		}
		free(reference);
	}
	free(filter->items);
	free(filter->name);
	free(filter->chain);
	free(filter);
}

int nw_filter_parse(const struct sl_nwfilter_source *source, struct nw_filter **out,
		    struct sl_diag *diag)
{
	struct reader r = {.file = source->file, .diag = diag};
	struct nw_filter *filter;
	int err;

	err = nw_document_read(source, &r.doc, diag);
	if (err)
		return err;
	filter = calloc(1, sizeof(*filter));
	err = filter ? read_filter(&r, xmlDocGetRootElement(r.doc), filter) : -ENOMEM;
	if (err)
		nw_filter_free(filter);
	else
		*out = filter;
	xmlFreeDoc(r.doc);
	return err;
}
