/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A little of libxml2, for texts that are not trusted. */
#ifndef SLUICE_LIBVIRT_XML_H
#define SLUICE_LIBVIRT_XML_H

#include <libxml/tree.h>

#include "policy/diag.h"

/*
 * Parses len bytes. A document type is refused before anything of it is read, so
 * there are no entities but the five of XML itself; nothing is fetched. NULL with
 * the error in diag. Free with xmlFreeDoc.
 */
xmlDoc *sl_xml_parse(const char *text, size_t len, const char *file, struct sl_diag *diag);

/* Replaces *out (owned, or NULL) by the value of an attribute without a namespace;
 * untouched if there is none. 0 or -ENOMEM. */
int sl_xml_attribute(const xmlNode *node, const char *name, char **out);

/* The next element from node on, NULL at the end; with a name: of that name in
 * no namespace. */
const xmlNode *sl_xml_element(const xmlNode *node, const char *name);

/* The first child element of that name in no namespace, or NULL. */
const xmlNode *sl_xml_child(const xmlNode *node, const char *name);

/* For: every child element of that name. */
#define sl_xml_each(child, node, name)                                                             \
	for (const xmlNode *child = sl_xml_element((node)->children, (name)); child;               \
	     child = sl_xml_element(child->next, (name)))

struct sl_pos sl_xml_pos(const xmlNode *node, const char *file);

#endif
