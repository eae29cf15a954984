// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A domain as a whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/text.h"

static int read_name(struct sl_domain_reader *r, const xmlNode *root)
{
	const xmlNode *node = sl_xml_child(root, "name");
	xmlChar *text = node ? xmlNodeGetContent(node) : NULL;

	if (node && !text)
		return -ENOMEM;
	if (!text || !*text) {
		sl_domain_wrong(r, root, "the domain has no <name>");
	} else {
		r->domain->name = strdup((const char *)text);
		if (!r->domain->name) {
			free(text);	/* xmlFree: xml.c */
			return -ENOMEM;
		}
	}
	free(text);
	return 0;
}

static int read_nics(struct sl_domain_reader *r, const xmlNode *devices)
{
	int err = 0;

	sl_xml_each(node, devices, "interface")
	{
		struct sl_nic *nic = SL_ADD(r->domain->nics, r->domain->n_nics);

		err = nic ? sl_nic_read(r, node, nic) : -ENOMEM;
		if (err)
			break;
	}
	return err;
}

/* Two of one name are one device, which can be given one policy and one MAC. */
static void check_targets(struct sl_domain_reader *r)
{
	const struct sl_nic *nics = r->domain->nics, *nic;

	for (size_t i = 1; i < r->domain->n_nics; i++)
		for (nic = nics; nic < nics + i; nic++)
			if (nics[i].device && nic->device && !strcmp(nics[i].device, nic->device)) {
				r->failed = true;
				sl_error(r->diag, &nics[i].pos, "<target dev=\"%.80s\">: the interface in line %u "
					 "has it too; give each a device of its own", nic->device,
					 nic->pos.line);
				break;
			}
}

/* ---- NICs that are no <interface> ---- */

static int add_other(struct sl_domain_reader *r, const xmlNode *node, const char *type)
{
	struct sl_nic *nic = SL_ADD(r->domain->nics, r->domain->n_nics);

	if (!nic)
		return -ENOMEM;
	nic->pos = sl_xml_pos(node, r->file);
	nic->type = strdup(type);
	return nic->type ? 0 : -ENOMEM;
}

/* -ENOMEM is no answer: a card would go unseen. */
static int attribute_is(const xmlNode *node, const char *name, const char *word, bool *is)
{
	char *text = NULL;
	int err = sl_xml_attribute(node, name, &text);

	*is = !err && text && !strcmp(text, word);
	free(text);
	return err;
}

/* A device of the host's may be a network card, by PCI or USB: libvirt does not say. A disk,
 * or a character device, is none. */
static int read_hostdev(struct sl_domain_reader *r, const xmlNode *node)
{
	static const char *const others[] = {"scsi", "scsi_host", "storage", "misc"};
	bool capabilities, net, is_other = false;

	if (attribute_is(node, "mode", "capabilities", &capabilities) ||
	    attribute_is(node, "type", "net", &net))
		return -ENOMEM;
	if (capabilities && net)
		return add_other(r, node, "hostdev");
	for (size_t i = 0; i < sizeof(others) / sizeof(*others) && !is_other; i++)
		if (attribute_is(node, "type", others[i], &is_other))
			return -ENOMEM;
	return is_other ? 0 : add_other(r, node, "hostdev-any");
}

static int read_hostdevs(struct sl_domain_reader *r, const xmlNode *devices)
{
	int err = 0;

	sl_xml_each(node, devices, "hostdev")
	{
		err = read_hostdev(r, node);
		if (err)
			break;
	}
	return err;
}

/* -netdev, -nic and -net give a network by themselves; with two dashes too. */
static bool is_network_argument(const char *word)
{
	static const char *const words[] = {"-netdev", "-nic", "-net", NULL};
	const char *const *w;

	word += word[0] == '-' && word[1] == '-';
	for (w = words; *w && strcmp(*w, word); w++)
		;
	return *w;
}

/* <qemu:commandline> of libvirt's own namespace. */
static int read_command_line(struct sl_domain_reader *r, const xmlNode *root)
{
	const xmlNode *line, *arg;
	char *word = NULL;
	int err = 0;

	for (line = sl_xml_element(root->children, NULL); line && !err;
	     line = sl_xml_element(line->next, NULL)) {
		if (!line->ns || strcmp((const char *)line->name, "commandline"))
			continue;
		for (arg = sl_xml_element(line->children, NULL); arg && !err;
		     arg = sl_xml_element(arg->next, NULL)) {
			err = sl_xml_attribute(arg, "value", &word);
			if (!err && word && is_network_argument(word))
				err = add_other(r, arg, "qemu-argument");
			free(word);
			word = NULL;
		}
	}
	return err;
}

/* libvirt takes what stands in any <devices>. */
static int read_devices(struct sl_domain_reader *r, const xmlNode *root)
{
	int err = 0;

	sl_xml_each(devices, root, "devices")
	{
		err = read_nics(r, devices);
		if (!err)
			err = read_hostdevs(r, devices);
		if (err)
			break;
	}
	check_targets(r);
	return err;
}

static int read_root(struct sl_domain_reader *r, const xmlNode *root, bool metadata)
{
	int err;

	if (!root || root->ns || strcmp((const char *)root->name, "domain")) {
		struct sl_pos pos = {r->file, 0, 0};

		return sl_error(r->diag, &pos, "a <domain> is wanted: found <%.80s>",
				root ? (const char *)root->name : "");
	}
	err = read_name(r, root);
	if (!err)
		err = read_devices(r, root);
	if (!err)
		err = read_command_line(r, root);
	if (!err && metadata)
		err = sl_metadata_read(r, sl_xml_child(root, "metadata"));
	return err ? err : r->failed ? -EINVAL : 0;
}

int sl_libvirt_domain_read(const char *text, size_t len, const char *file, bool metadata,
			   struct sl_libvirt_domain *out, struct sl_diag *diag)
{
	struct sl_pos pos = {file, 0, 0};
	struct sl_libvirt_domain domain = {};
	struct sl_domain_reader r = {.file = file, .domain = &domain, .diag = diag};
	xmlDoc *doc;
	int err;

	if (len > SL_DOMAIN_BYTES_MAX)
		return sl_error(diag, &pos, "larger than %u MiB", SL_DOMAIN_BYTES_MAX >> 20);
	doc = sl_xml_parse(text, len, file, diag);
	if (!doc)
		return -EINVAL;
	err = read_root(&r, xmlDocGetRootElement(doc), metadata);
	xmlFreeDoc(doc);
	if (err)
		sl_libvirt_domain_free(&domain);
	else
		*out = domain;
	return err;
}

void sl_libvirt_domain_free(struct sl_libvirt_domain *domain)
{
	for (size_t i = 0; i < domain->n_nics; i++)
		sl_nic_free(&domain->nics[i]);
	free(domain->nics);
	free(domain->name);
	free(domain->policy);
	*domain = (struct sl_libvirt_domain){};
}
