/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of this folder share; nothing else includes it. */
#ifndef SLUICE_LIBVIRT_INTERNAL_H
#define SLUICE_LIBVIRT_INTERNAL_H

#include "domain.h"
#include "xml.h"

struct sl_domain_reader {
	const char *file;
	struct sl_libvirt_domain *domain;
	struct sl_diag *diag;
	bool failed;		/* some error is in diag; the work goes on */
};

#define sl_domain_wrong(r, node, ...)                                                              \
	do {                                                                                       \
		struct sl_pos pos_ = sl_xml_pos((node), (r)->file);                                \
		(r)->failed = true;                                                                \
		sl_error((r)->diag, &pos_, __VA_ARGS__);                                           \
	} while (0)

/* The functions below return 0 or -ENOMEM; what is wrong is told by r->failed. */

/* nic.c: one <interface>. */
int sl_nic_read(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic);
void sl_nic_free(struct sl_nic *nic);
int sl_nic_add_address(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic,
		       const char *text, size_t len);

/* metadata.c: what the guest's owner wrote for us, onto the NICs that were read. */
int sl_metadata_read(struct sl_domain_reader *r, const xmlNode *metadata);

#endif
