// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One <interface> of a domain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/address.h"
#include "policy/text.h"
#include "target/device.h"

#define VID_MAX 4094

/* A MAC that is none, or a group's, binds nothing that a guest can be. */
static int read_mac(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic)
{
	char *text = NULL;
	int err;

	if (!node)
		return 0;
	err = sl_xml_attribute(node, "address", &text);
	if (err)
		return err;
	if (text && sl_mac_parse(text, nic->mac) && !(nic->mac[0] & 1))
		nic->has_mac = true;
	else
		sl_domain_wrong(r, node, "<mac address=\"%.80s\">: a unicast Ethernet address is "
				"wanted, as 52:54:00:12:34:56", text ? text : "");
	free(text);
	return 0;
}

int sl_nic_add_address(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic,
		       const char *text, size_t len)
{
	struct sl_pos pos = sl_xml_pos(node, r->file);
	struct sl_cidr cidr, *added;

	if (sl_cidr_read(text, len, &pos, &cidr, r->diag)) {
		r->failed = true;
		return 0;
	}
	if (sl_address_is_nobodys(&cidr)) {
		sl_domain_wrong(r, node, "'%.*s' is no address that a guest can have", SL_Q(text, len));
		return 0;
	}
	if (nic->n_addresses == SL_NIC_ADDRESSES_MAX) {
		sl_domain_wrong(r, node, "more than %d addresses for one NIC: write a prefix",
				SL_NIC_ADDRESSES_MAX);
		return 0;
	}
	added = SL_ADD(nic->addresses, nic->n_addresses);
	if (!added)
		return -ENOMEM;
	*added = cidr;
	return 0;
}

/* Variables of nwfilter's clean-traffic family: who the guest may be. */
static int read_parameter(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic)
{
	char *name = NULL, *value = NULL;
	int err = sl_xml_attribute(node, "name", &name);

	if (!err)
		err = sl_xml_attribute(node, "value", &value);
	if (!err && name && value) {
		if (!strcmp(name, "IP") || !strcmp(name, "IPV6"))
			err = sl_nic_add_address(r, node, nic, value, strlen(value));
		else if (!strcmp(name, "CTRL_IP_LEARNING"))
			nic->lease |= !strcmp(value, "dhcp");
	}
	free(name);
	free(value);
	return err;
}

static int read_filter(struct sl_domain_reader *r, const xmlNode *filter, struct sl_nic *nic)
{
	int err = 0;

	if (!filter)
		return 0;
	sl_xml_each(parameter, filter, "parameter")
	{
		err = read_parameter(r, parameter, nic);
		if (err)
			break;
	}
	return err;
}

static int read_tag(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic)
{
	char *id = NULL;
	__u64 vid;
	int err = sl_xml_attribute(node, "id", &id);

	if (err)
		return err;
	if (!id || !sl_text_number(id, strlen(id), VID_MAX, &vid))
		sl_domain_wrong(r, node, "<tag id=\"%.80s\">: a VLAN id is a number up to %d",
				id ? id : "", VID_MAX);
	else if (nic->n_vlans == SL_NIC_VLANS_MAX)
		sl_domain_wrong(r, node, "a trunk of more than %d VLANs: a binding holds no more",
				SL_NIC_VLANS_MAX);
	else
		nic->vlans[nic->n_vlans++] = (__u16)vid;
	free(id);
	return 0;
}

/* On a trunk the guest writes the tags itself. Else the one tag is the switch's
 * business: the guest's frames carry none, and may carry none. */
static int read_vlan(struct sl_domain_reader *r, const xmlNode *vlan, struct sl_nic *nic)
{
	char *trunk = NULL;
	unsigned n = 0;
	bool is_trunk;
	int err = 0;

	if (!vlan)
		return 0;
	err = sl_xml_attribute(vlan, "trunk", &trunk);
	is_trunk = trunk && !strcmp(trunk, "yes");
	free(trunk);
	sl_xml_each(counted, vlan, "tag")
		n++;
	if (!is_trunk && n < 2)
		return err;
	sl_xml_each(tag, vlan, "tag")
	{
		if (!err)
			err = read_tag(r, tag, nic);
	}
	return err;
}

/* The one child of that name. Of two libvirt takes the first or the last one, its versions
 * differ: which card that is nobody can tell. */
static const xmlNode *only_child(struct sl_domain_reader *r, const xmlNode *node, const char *name)
{
	const xmlNode *child = sl_xml_child(node, name);
	const xmlNode *second = child ? sl_xml_element(child->next, name) : NULL;

	if (second)
		sl_domain_wrong(r, second, "<%s> stands twice in an <interface>; keep one", name);
	return child;
}

static int read_target(const xmlNode *node, struct sl_nic *nic)
{
	return node ? sl_xml_attribute(node, "dev", &nic->device) : 0;
}

int sl_nic_read(struct sl_domain_reader *r, const xmlNode *node, struct sl_nic *nic)
{
	int err = sl_xml_attribute(node, "type", &nic->type);

	nic->pos = sl_xml_pos(node, r->file);
	if (!err)
		err = read_target(only_child(r, node, "target"), nic);
	if (!err)
		err = read_mac(r, only_child(r, node, "mac"), nic);
	if (!err)
		err = read_filter(r, only_child(r, node, "filterref"), nic);
	if (!err)
		err = read_vlan(r, only_child(r, node, "vlan"), nic);
	nic->bandwidth = sl_xml_child(node, "bandwidth");
	if (!err && !nic->type)
		sl_domain_wrong(r, node, "an <interface> without a type");
	return err;
}

void sl_nic_free(struct sl_nic *nic)
{
	free(nic->type);
	free(nic->device);
	free(nic->policy);
	free(nic->addresses);
}

/* libvirt's names of types, virDomainNetTypeToString(). */
const char *sl_nic_uncovered(const struct sl_nic *nic)
{
	static const struct {
		const char *type, *why;
	} types[] = {
		{"network", NULL},
		{"bridge", NULL},
		{"ethernet", NULL},
		{"null", NULL},
		{"hostdev-any", NULL},
		{"direct", "macvtap: its frames bypass the host's tc hooks"},
		{"hostdev", "a device of the host's is given to the guest (SR-IOV, PCI)"},
		{"vhostuser", "its frames go through shared memory to a switch in user space"},
		{"vdpa", "its frames go through hardware queues"},
		{"user", "qemu itself opens the guest's connections, from the host"},
		{"vds", "another hypervisor's switch"},
		{"server", "qemu carries its frames over a socket of its own"},
		{"client", "qemu carries its frames over a socket of its own"},
		{"mcast", "qemu carries its frames over a socket of its own"},
		{"udp", "qemu carries its frames over a socket of its own"},
		{"internal", "qemu carries its frames by itself"},
		{"qemu-argument", "<qemu:commandline> gives the guest a network of qemu's own"},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(nic->type, types[i].type))
			return types[i].why;
	return "a type of interface that is not known here";
}
