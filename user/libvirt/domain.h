/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a guest's domain XML says of its network: its NICs, who the guest may be
 * on each, and which policy was asked for. Pure: text in, structure out.
 *
 * The text is libvirt's, but what stands in it is whatever the guest's owner
 * defined, so it is read as hostile: no document type, no entities, no files.
 */
#ifndef SLUICE_LIBVIRT_DOMAIN_H
#define SLUICE_LIBVIRT_DOMAIN_H

#include "policy/policy.h"

#define SL_DOMAIN_BYTES_MAX (8u << 20)	/* libvirt's own limit is 4 MiB */
#define SL_LIBVIRT_NAMESPACE "https://sluice.dev/libvirt/1"
#define SL_NIC_VLANS_MAX 4
#define SL_NIC_ADDRESSES_MAX 24

struct sl_nic {
	char *type;		/* owned: `network`, `bridge`, `direct`...; of what is no
				 * <interface>: `hostdev`, `hostdev-any`, `qemu-argument` */
	char *device;		/* owned: the host's device, NULL: there is none (yet) */
	char *policy;		/* owned: asked for in the metadata, or NULL */
	bool has_mac;
	__u8 mac[6];
	struct sl_cidr *addresses; /* owned: of the metadata, else of the filterref */
	size_t n_addresses;
	bool lease;		/* DHCP snooping was asked for */
	__u16 vlans[SL_NIC_VLANS_MAX]; /* that the guest's own frames carry */
	size_t n_vlans;
	bool bandwidth;		/* libvirt limits it too */
	struct sl_pos pos;
};

struct sl_libvirt_domain {
	char *name;		/* owned */
	char *policy;		/* owned: of the metadata, or NULL */
	struct sl_nic *nics;	/* owned */
	size_t n_nics;
};

/*
 * Reads the XML of one domain. file names it in diag and must outlive *out.
 * metadata: what the guest's owner asks for there counts; else it is not read. 0,
 * -EINVAL with the errors in diag, or -ENOMEM; *out is then untouched. Free
 * with sl_libvirt_domain_free.
 */
int sl_libvirt_domain_read(const char *text, size_t len, const char *file, bool metadata,
			   struct sl_libvirt_domain *out, struct sl_diag *diag);
void sl_libvirt_domain_free(struct sl_libvirt_domain *domain);

/* Why the host's tc does not see this NIC's frames (static), or NULL: it does. */
const char *sl_nic_uncovered(const struct sl_nic *nic);

#endif
