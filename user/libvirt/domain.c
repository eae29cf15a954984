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
			xmlFree(text);
			return -ENOMEM;
		}
	}
	xmlFree(text);
	return 0;
}

static int read_nics(struct sl_domain_reader *r, const xmlNode *devices)
{
	int err = 0;

	if (!devices)
		return 0;
	sl_xml_each(node, devices, "interface")
	{
		struct sl_nic *nic = SL_ADD(r->domain->nics, r->domain->n_nics);

		err = nic ? sl_nic_read(r, node, nic) : -ENOMEM;
		if (err)
			break;
	}
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
		err = read_nics(r, sl_xml_child(root, "devices"));
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
