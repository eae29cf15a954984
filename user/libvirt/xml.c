// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "late/late.h"

/* libvirt writes none; entities are how a small text becomes a large one. */
static void refuse_doctype(void *context, const xmlChar *name, const xmlChar *external,
			   const xmlChar *system)
{
	xmlParserCtxt *ctxt = context;

	*(bool *)ctxt->_private = true;
	xmlStopParser(ctxt);
}

static void report(xmlParserCtxt *ctxt, bool doctype, const char *file, struct sl_diag *diag)
{
	const xmlError *error = xmlCtxtGetLastError(ctxt);
	struct sl_pos pos = {file, 0, 0};
	const char *why = error && error->message ? error->message : "cannot be parsed";

	if (doctype) {
		sl_error(diag, &pos, "has a document type (<!DOCTYPE>), which libvirt never writes");
		return;
	}
	if (error && error->line > 0)
		pos.line = (unsigned)error->line;
	if (error && error->int2 > 0)
		pos.column = (unsigned)error->int2;
	sl_error(diag, &pos, "not XML: %.*s", (int)strcspn(why, "\n"), why);
}

xmlDoc *sl_xml_parse(const char *text, size_t len, const char *file, struct sl_diag *diag)
{
	struct sl_pos pos = {file, 0, 0};
	xmlParserCtxt *ctxt = NULL;
	bool doctype = false;
	xmlDoc *doc = NULL;

	if (sl_late_need(SL_LATE_XML, diag))
		return NULL;
	if (len && len < INT_MAX)
		ctxt = xmlCreateMemoryParserCtxt(text, (int)len);
	if (!ctxt) {
		sl_error(diag, &pos, len ? "cannot be parsed" : "is empty");
		return NULL;
	}
	xmlCtxtUseOptions(ctxt, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	ctxt->_private = &doctype;
	ctxt->sax->internalSubset = refuse_doctype;
	xmlParseDocument(ctxt);
	if (ctxt->wellFormed && !doctype)
		doc = ctxt->myDoc;
	else
		xmlFreeDoc(ctxt->myDoc);
	ctxt->myDoc = NULL;
	if (!doc)
		report(ctxt, doctype, file, diag);
	xmlFreeParserCtxt(ctxt);
	return doc;
}

int sl_xml_attribute(const xmlNode *node, const char *name, char **out)
{
	xmlChar *value;
	char *copy;

	if (!xmlHasNsProp(node, (const xmlChar *)name, NULL))
		return 0;
	value = xmlGetNoNsProp(node, (const xmlChar *)name);
	copy = value ? strdup((const char *)value) : NULL;
	free(value);	/* xmlFree, a variable, cannot be bound late; this is what it is */
	if (!copy)
		return -ENOMEM;
	free(*out);
	*out = copy;
	return 0;
}

const xmlNode *sl_xml_element(const xmlNode *node, const char *name)
{
	for (; node; node = node->next)
		if (node->type == XML_ELEMENT_NODE &&
		    (!name || (!node->ns && !strcmp((const char *)node->name, name))))
			return node;
	return NULL;
}

const xmlNode *sl_xml_child(const xmlNode *node, const char *name)
{
	return node ? sl_xml_element(node->children, name) : NULL;
}

struct sl_pos sl_xml_pos(const xmlNode *node, const char *file)
{
	long line = xmlGetLineNo(node);

	return (struct sl_pos){file, line > 0 ? (unsigned)line : 0, 0};
}
