// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * <sluice:policy name="web">
 *   <sluice:nic mac="52:54:00:12:34:56" policy="web-dmz" addresses="192.0.2.10 dhcp"/>
 * </sluice:policy>
 *
 * One element, since libvirt keeps one for each namespace. A slip here would
 * choose another policy than was meant, so what is not known is an error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/text.h"
#include "target/device.h"

static bool is_ours(const xmlNode *node, const char *name)
{
	return node->ns && node->ns->href &&
	       !strcmp((const char *)node->ns->href, SL_LIBVIRT_NAMESPACE) &&
	       (!name || !strcmp((const char *)node->name, name));
}

static void check_attributes(struct sl_domain_reader *r, const xmlNode *node,
			     const char *const *known)
{
	for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
		const char *const *word = known;

		while (*word && strcmp((const char *)attr->name, *word))
			word++;
		if (!*word)
			sl_domain_wrong(r, node, "<sluice:%s> has no attribute \"%.80s\"",
					(const char *)node->name, (const char *)attr->name);
	}
}

/* A name, never a path: it is looked for where policies are. */
static int read_policy_name(struct sl_domain_reader *r, const xmlNode *node, const char *attribute,
			    char **out)
{
	char *text = NULL;
	int err = sl_xml_attribute(node, attribute, &text);

	if (err || !text)
		return err;
	if (sl_text_name(text, strlen(text), true) && text[0] != '.') {
		free(*out);
		*out = text;
		return 0;
	}
	sl_domain_wrong(r, node, "%s=\"%.80s\": the name of a policy is wanted (1 to 63 of a-z A-Z "
			"0-9 . _ -, no . at the start)", attribute, text);
	free(text);
	return 0;
}

static struct sl_nic *find_nic(struct sl_libvirt_domain *domain, const __u8 mac[6])
{
	for (size_t i = 0; i < domain->n_nics; i++)
		if (domain->nics[i].has_mac && !memcmp(domain->nics[i].mac, mac, 6))
			return &domain->nics[i];
	return NULL;
}

/* What stands here replaces what the filterref said. */
static int read_addresses(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic)
{
	static const char spaces[] = " \t\r\n,";
	char *text = NULL;
	int err = sl_xml_attribute(node, "addresses", &text);
	size_t len;

	if (err || !text)
		return err;
	nic->n_addresses = 0;
	free(nic->addresses);
	nic->addresses = NULL;
	nic->lease = false;
	for (const char *c = text + strspn(text, spaces); !err && *c;
	     c += len, c += strspn(c, spaces)) {
		len = strcspn(c, spaces);
		if (sl_text_is(c, len, "dhcp"))
			nic->lease = true;
		else
			err = sl_nic_add_address(r, node, nic, c, len);
	}
	if (!err && !nic->n_addresses && !nic->lease)
		sl_domain_wrong(r, node, "addresses=\"\": write addresses, or dhcp");
	free(text);
	return err;
}

/* A guest can have several NICs of one type; only the MAC tells them apart. */
static int read_nic(struct sl_domain_reader *r, const xmlNode *node)
{
	static const char *const known[] = {"mac", "policy", "addresses", NULL};
	struct sl_nic *nic = NULL;
	char *text = NULL;
	__u8 mac[6];
	int err;

	check_attributes(r, node, known);
	err = sl_xml_attribute(node, "mac", &text);
	if (err)
		return err;
	if (text && sl_mac_parse(text, mac))
		nic = find_nic(r->domain, mac);
	if (!nic)
		sl_domain_wrong(r, node, "<sluice:nic mac=\"%.80s\">: the domain has no NIC with "
				"this MAC", text ? text : "");
	free(text);
	if (!nic)
		return 0;
	err = read_policy_name(r, node, "policy", &nic->policy);
	return err ? err : read_addresses(r, node, nic);
}

static int read_policy(struct sl_domain_reader *r, const xmlNode *node)
{
	static const char *const known[] = {"name", NULL};
	int err;

	check_attributes(r, node, known);
	err = read_policy_name(r, node, "name", &r->domain->policy);
	for (const xmlNode *child = sl_xml_element(node->children, NULL); !err && child;
	     child = sl_xml_element(child->next, NULL)) {
		if (is_ours(child, "nic"))
			err = read_nic(r, child);
		else
			sl_domain_wrong(r, child, "<%.80s> is nothing that <sluice:policy> holds",
					(const char *)child->name);
	}
	return err;
}

int sl_metadata_read(struct sl_domain_reader *r, const xmlNode *metadata)
{
	const xmlNode *found = NULL;
	int err = 0;

	if (!metadata)
		return 0;
	for (const xmlNode *node = sl_xml_element(metadata->children, NULL); !err && node;
	     node = sl_xml_element(node->next, NULL)) {
		if (!is_ours(node, NULL))
			continue;
		if (found || !is_ours(node, "policy")) {
			sl_domain_wrong(r, node, "in <metadata>: one <policy> of our namespace is "
					"wanted: found %s<%.80s>", found ? "another " : "",
					(const char *)node->name);
			continue;
		}
		found = node;
		err = read_policy(r, node);
	}
	return err;
}
