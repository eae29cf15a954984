// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A text as an XML document: no entity is expanded, no document type read, no other
 * file or address opened.
 */
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <string.h>

#include "late/late.h"
#include "nwfilter_internal.h"

/* A filter has no document type. Stopping here leaves its entities unread. */
static void document_type(void *context, const xmlChar *name, const xmlChar *external,
			  const xmlChar *system)
{
	xmlParserCtxt *ctxt = context;

	(void)name;
	(void)external;
	(void)system;
	*(unsigned *)ctxt->_private = (unsigned)xmlSAX2GetLineNumber(ctxt);
	xmlStopParser(ctxt);
}

static int not_xml(const struct sl_nwfilter_source *source, const xmlParserCtxt *ctxt,
		   unsigned type_line, struct sl_diag *diag)
{
	const xmlError *why = xmlCtxtGetLastError((void *)ctxt);
	struct sl_pos pos = {.file = source->file, .line = type_line};
	int len;

	if (type_line)
		return sl_error(diag, &pos,
				"<!DOCTYPE>: a filter has none, and none is read: take it out");
	if (why && why->code == XML_ERR_NO_MEMORY)
		return -ENOMEM;
	if (!why || !why->message)
		return sl_error(diag, &pos, "not XML");
	pos.line = why->line > 0 ? (unsigned)why->line : 0;
	pos.column = why->int2 > 0 ? (unsigned)why->int2 : 0;
	len = (int)strcspn(why->message, "\n");
	return sl_error(diag, &pos, "not XML: %.*s", len < 200 ? len : 200, why->message);
}

int nw_document_read(const struct sl_nwfilter_source *source, xmlDoc **out, struct sl_diag *diag)
{
	unsigned type_line = 0;
	xmlParserCtxt *ctxt;
	xmlDoc *doc;
	int err = sl_late_need(SL_LATE_XML, diag);

	if (err)
		return err;
	ctxt = xmlNewParserCtxt();
	if (!ctxt)
		return -ENOMEM;
	if (source->len > SL_NWFILTER_BYTES_MAX) {
		struct sl_pos pos = {.file = source->file};

		xmlFreeParserCtxt(ctxt);
		return sl_error(diag, &pos, "larger than %u MiB: not a filter",
				SL_NWFILTER_BYTES_MAX >> 20);
	}
	ctxt->_private = &type_line;
	ctxt->sax->internalSubset = document_type;
	doc = xmlCtxtReadMemory(ctxt, source->text, (int)source->len, NULL, NULL,
				XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
					XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES);
	if (!doc || type_line || !xmlDocGetRootElement(doc)) {
		err = not_xml(source, ctxt, type_line, diag);
		xmlFreeDoc(doc);
	} else {
		*out = doc;
	}
	xmlFreeParserCtxt(ctxt);
	return err;
}
