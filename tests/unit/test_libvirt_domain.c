// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/libvirt: what is read of a domain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libvirt/domain.h"

#define OURS "xmlns:sluice='" SL_LIBVIRT_NAMESPACE "'"
#define MAC "<mac address='52:54:00:12:34:56'/>"

struct read {
	int err;
	struct sl_libvirt_domain domain;
	struct sl_diag diag;
};

static struct read read_text(const char *text, size_t len)
{
	struct read r = {};

	r.err = sl_libvirt_domain_read(text, len, "domain", true, &r.domain, &r.diag);
	return r;
}

/* A domain with that metadata and those devices, on one line each. */
static struct read read_parts(const char *metadata, const char *devices)
{
	char *text;
	struct read r;

	assert_true(asprintf(&text,
			     "<domain type='kvm' id='1'>\n<name>web</name>\n"
			     "<metadata>%s</metadata>\n<devices>%s</devices>\n</domain>\n",
			     metadata, devices) > 0);
	r = read_text(text, strlen(text));
	free(text);
	return r;
}

static void done(struct read *r)
{
	sl_libvirt_domain_free(&r->domain);
	sl_diag_free(&r->diag);
}

static void assert_says(const struct read *r, unsigned line, const char *text)
{
	assert_int_equal(r->err, -EINVAL);
	for (size_t i = 0; i < r->diag.n; i++)
		if (strstr(r->diag.entries[i].message, text) &&
		    (!line || r->diag.entries[i].pos.line == line))
			return;
	fail_msg("nothing says \"%s\" in line %u; first: %s", text, line,
		 r->diag.n ? r->diag.entries[0].message : "-");
}

/* As libvirt 9.0 hands it to the hook at `start`, abridged. */
static const char live[] =
	"<domain type='kvm' id='3'>\n"
	"  <name>web</name>\n"
	"  <uuid>8a6f8c5e-3f1f-4f0c-9f2f-0d4f5b1d2c3a</uuid>\n"
	"  <metadata>\n"
	"    <libosinfo:libosinfo xmlns:libosinfo=\"http://libosinfo.org/xmlns/libvirt/domain/1.0\">\n"
	"      <libosinfo:os id=\"http://debian.org/debian/12\"/>\n"
	"    </libosinfo:libosinfo>\n"
	"    <sluice:policy xmlns:sluice=\"https://sluice.dev/libvirt/1\" name=\"web-tier\">\n"
	"      <sluice:nic mac=\"52:54:00:00:00:02\" policy=\"dmz\" addresses=\"192.0.2.10, dhcp "
	"2001:db8::/64\"/>\n"
	"    </sluice:policy>\n"
	"  </metadata>\n"
	"  <devices>\n"
	"    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
	"    <interface type='network'>\n"
	"      <mac address='52:54:00:00:00:01'/>\n"
	"      <source network='default' portid='0ff0' bridge='virbr0'/>\n"
	"      <target dev='vnet4'/>\n"
	"      <model type='virtio'/>\n"
	"      <filterref filter='clean-traffic'>\n"
	"        <parameter name='CTRL_IP_LEARNING' value='dhcp'/>\n"
	"        <parameter name='IP' value='192.168.122.10'/>\n"
	"        <parameter name='IP' value='192.168.122.11'/>\n"
	"        <parameter name='IPV6' value='2001:db8::10'/>\n"
	"      </filterref>\n"
	"      <alias name='net0'/>\n"
	"    </interface>\n"
	"    <interface type='bridge'>\n"
	"      <mac address='52:54:00:00:00:02'/>\n"
	"      <source bridge='br0'/>\n"
	"      <vlan trunk='yes'><tag id='42'/><tag id='7' nativeMode='untagged'/></vlan>\n"
	"      <bandwidth><inbound average='1000'/></bandwidth>\n"
	"      <target dev='vnet5'/>\n"
	"      <filterref filter='x'><parameter name='IP' value='192.0.2.99'/></filterref>\n"
	"    </interface>\n"
	"    <interface type='direct'>\n"
	"      <mac address='52:54:00:00:00:03'/>\n"
	"      <source dev='eth0' mode='bridge'/>\n"
	"      <target dev='macvtap0'/>\n"
	"    </interface>\n"
	"  </devices>\n"
	"</domain>\n";

static void assert_cidr(const struct sl_cidr *cidr, const char *want)
{
	char text[SL_CIDR_TEXT];

	assert_string_equal(sl_cidr_format(cidr, text), want);
}

static void test_live_domain(void **state)
{
	struct read r = read_text(live, strlen(live));
	const struct sl_nic *nic = r.domain.nics;

	assert_int_equal(r.err, 0);
	assert_string_equal(r.domain.name, "web");
	assert_string_equal(r.domain.policy, "web-tier");
	assert_int_equal(r.domain.n_nics, 3);
	assert_string_equal(nic[0].device, "vnet4");
	assert_memory_equal(nic[0].mac, "\x52\x54\0\0\0\x01", 6);
	assert_int_equal(nic[0].n_addresses, 3);
	assert_cidr(&nic[0].addresses[1], "192.168.122.11");
	assert_cidr(&nic[0].addresses[2], "2001:db8::10");
	assert_true(nic[0].lease);
	assert_false(nic[0].bandwidth);
	assert_null(nic[0].policy);
	assert_int_equal(nic[0].n_vlans, 0);
	assert_null(sl_nic_uncovered(&nic[0]));
	done(&r);
}

static void test_metadata_comes_before_the_filterref(void **state)
{
	struct read r = read_text(live, strlen(live));
	const struct sl_nic *nic = &r.domain.nics[1];

	assert_int_equal(r.err, 0);
	assert_string_equal(nic->policy, "dmz");
	assert_int_equal(nic->n_addresses, 2);
	assert_cidr(&nic->addresses[0], "192.0.2.10");
	assert_cidr(&nic->addresses[1], "2001:db8::/64");
	assert_true(nic->lease);
	assert_true(nic->bandwidth);
	assert_int_equal(nic->n_vlans, 2);
	assert_int_equal(nic->vlans[0], 42);
	assert_int_equal(nic->vlans[1], 7);
	assert_int_equal(nic->pos.line, 27);
	assert_non_null(sl_nic_uncovered(&r.domain.nics[2]));
	done(&r);
}

static void test_an_access_port_binds_no_tag(void **state)
{
	struct read one = read_parts("", "<interface type='bridge'><vlan><tag id='42'/></vlan>"
					 "</interface>");
	struct read two = read_parts("", "<interface type='bridge'><vlan><tag id='42'/>"
					 "<tag id='43'/></vlan></interface>");

	assert_int_equal(one.err, 0);
	assert_int_equal(one.domain.nics[0].n_vlans, 0);
	assert_int_equal(two.err, 0);
	assert_int_equal(two.domain.nics[0].n_vlans, 2); /* several: trunk='yes' is implied */
	done(&one);
	done(&two);
}

static void test_nothing_to_read(void **state)
{
	struct read r = read_parts("", "");

	assert_int_equal(r.err, 0);
	assert_int_equal(r.domain.n_nics, 0);
	assert_null(r.domain.policy);
	done(&r);
}

static const struct {
	const char *metadata, *devices;
	unsigned line;
	const char *says;
} wrong[] = {
	{"", "<interface><mac/></interface>", 4, "without a type"},
	{"", "<interface type='bridge'><mac/></interface>", 4, "unicast Ethernet address"},
	{"", "<interface type='bridge'><mac address='52:54:00:12:34'/></interface>", 4, "unicast"},
	{"", "<interface type='bridge'><mac address='52:54:00:12:34:5x'/></interface>", 4,
	 "52:54:00:12:34:5x"},
	{"", "<interface type='bridge'><mac address='52:54:00:12:34:56:78'/></interface>", 4, "<mac"},
	{"", "<interface type='bridge'><mac address='5254:00:12:34:567'/></interface>", 4, "<mac"},
	{"", "<interface type='bridge'><mac address='53:54:00:12:34:56'/></interface>", 4, "unicast"},
	{"", "<interface type='bridge'><filterref><parameter name='IP' value='192.0.2'/></filterref>"
	     "</interface>", 4, "192.0.2"},
	{"", "<interface type='bridge'><vlan trunk='yes'><tag id='4095'/></vlan></interface>", 4,
	 "up to 4094"},
	{"", "<interface type='bridge'><vlan trunk='yes'><tag/></vlan></interface>", 4, "VLAN id"},
	{"", "<interface type='bridge'><vlan trunk='yes'><tag id='1'/><tag id='2'/><tag id='3'/>"
	     "<tag id='4'/><tag id='5'/></vlan></interface>", 4, "more than 4 VLANs"},
	{"", "<interface type='bridge'><target dev='a'/>\n<target dev='b'/></interface>", 5,
	 "<target> stands twice"},
	{"", "<interface type='bridge'><target dev='a'/><target/></interface>", 4, "<target> stands"},
	{"", "<interface type='bridge'>" MAC MAC "</interface>", 4, "<mac> stands twice"},
	{"", "<interface type='bridge'><filterref/><filterref/></interface>", 4, "<filterref> stands"},
	{"", "<interface type='bridge'><vlan/><vlan/></interface>", 4, "<vlan> stands twice"},
	{"", "<interface type='bridge'><target dev='a'/></interface><interface type='network'>"
	     "<target dev='b'/></interface>\n<interface type='network'><target dev='a'/></interface>", 5,
	 "the interface in line 4 has it too"},
	{"", "<interface type='bridge'><target dev='a'/></interface></devices>\n<devices>"
	     "<interface type='network'><target dev='a'/></interface>", 5, "in line 4 has it too"},
	{"<sluice:policy " OURS " name='../../etc/x'/>", "", 3, "../../etc/x"},
	{"<sluice:policy " OURS " name=''/>", "", 3, "name of a policy"},
	{"<sluice:policy " OURS " name='.hidden'/>", "", 3, "no . at the start"},
	{"<sluice:policy " OURS " nmae='web'/>", "", 3, "no attribute \"nmae\""},
	{"<sluice:polcy " OURS " name='web'/>", "", 3, "<polcy>"},
	{"<sluice:policy " OURS " name='a'/><sluice:policy " OURS " name='b'/>", "", 3, "another"},
	{"<sluice:policy " OURS "><sluice:nick/></sluice:policy>", "", 3, "<nick>"},
	{"<sluice:policy " OURS "><nic/></sluice:policy>", "", 3, "<nic>"},
	{"<sluice:policy " OURS "><sluice:nic mac='52:54:00:12:34:57'/></sluice:policy>",
	 "<interface type='bridge'>" MAC "</interface>", 3, "no NIC with this MAC"},
	{"<sluice:policy " OURS "><sluice:nic/></sluice:policy>",
	 "<interface type='bridge'>" MAC "</interface>", 3, "no NIC with this MAC"},
	{"<sluice:policy " OURS "><sluice:nic mac='52:54:00:12:34:56' addresses=' '/></sluice:policy>",
	 "<interface type='bridge'>" MAC "</interface>", 3, "write addresses"},
	{"<sluice:policy " OURS "><sluice:nic mac='52:54:00:12:34:56' addresses='192.0.2.1 web'/>"
	 "</sluice:policy>", "<interface type='bridge'>" MAC "</interface>", 3, "web"},
};

/* As libvirt's ./devices/interface does. */
static void test_what_stands_in_a_second_devices_is_read_too(void **state)
{
	struct read r = read_parts("", "<interface type='bridge'><target dev='a'/></interface></devices>"
				       "<devices/><devices><interface type='bridge'><target dev='b'/>"
				       "</interface><hostdev mode='subsystem' type='pci'/>");

	assert_int_equal(r.err, 0);
	assert_int_equal(r.domain.n_nics, 3);
	assert_string_equal(r.domain.nics[0].device, "a");
	assert_string_equal(r.domain.nics[1].device, "b");
	assert_string_equal(r.domain.nics[2].type, "hostdev-any");
	done(&r);
}

static void test_devices_of_the_hosts(void **state)
{
	static const struct {
		const char *attributes, *type;
	} cases[] = {
		{"mode='subsystem' type='pci'", "hostdev-any"},
		{"mode='subsystem' type='usb'", "hostdev-any"},
		{"mode='subsystem' type='mdev'", "hostdev-any"},
		{"mode='subsystem' type='of-tomorrow'", "hostdev-any"},
		{"mode='capabilities' type='net'", "hostdev"},
		{"mode='subsystem' type='scsi'", NULL},
		{"mode='subsystem' type='scsi_host'", NULL},
		{"mode='capabilities' type='storage'", NULL},
		{"mode='capabilities' type='misc'", NULL},
	};
	char text[80];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct read r;

		snprintf(text, sizeof(text), "<hostdev %s/>", cases[i].attributes);
		r = read_parts("", text);
		assert_int_equal(r.err, 0);
		assert_int_equal(r.domain.n_nics, cases[i].type ? 1 : 0);
		if (cases[i].type)
			assert_string_equal(r.domain.nics[0].type, cases[i].type);
		done(&r);
	}
}

static void test_wrong_domains(void **state)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct read r = read_parts(wrong[i].metadata, wrong[i].devices);

		assert_says(&r, wrong[i].line, wrong[i].says);
		done(&r);
	}
}

static void test_metadata_that_does_not_count_is_not_read(void **state)
{
	static const char text[] = "<domain><name>x</name><metadata><sluice:policy " OURS
				   " name='../x' odd=''/></metadata></domain>";
	struct sl_libvirt_domain domain;
	struct sl_diag diag = {};

	assert_int_equal(sl_libvirt_domain_read(text, strlen(text), "d", false, &domain, &diag), 0);
	assert_null(domain.policy);
	sl_libvirt_domain_free(&domain);
	assert_int_equal(sl_libvirt_domain_read(text, strlen(text), "d", true, &domain, &diag), -EINVAL);
	sl_diag_free(&diag);
}

static void test_too_many_addresses(void **state)
{
	char devices[4096] = "<interface type='bridge'><filterref>";
	struct read r;

	for (int i = 0; i <= SL_NIC_ADDRESSES_MAX; i++)
		strcat(devices, "<parameter name='IP' value='192.0.2.1'/>");
	strcat(devices, "</filterref></interface>");
	r = read_parts("", devices);
	assert_says(&r, 4, "more than 24 addresses");
	done(&r);
}

static const struct {
	const char *text, *says;
} hostile[] = {
	{"", "is empty"},
	{" ", "not XML"},
	{"<", "not XML"},
	{"<domain", "not XML"},
	{"<domain><name>x</name></domain><domain/>", "not XML"},
	{"<domain><name>x</nam></domain>", "not XML"},
	{"<domain><name>&bomb;</name></domain>", "not XML"},
	{"<domain><name>\x80</name></domain>", "not XML"},
	{"<network><name>x</name></network>", "<network>"},
	{"<x:domain xmlns:x='y'><name>x</name></x:domain>", "a <domain> is wanted"},
	{"<domain/>", "no <name>"},
	{"<domain><name/></domain>", "no <name>"},
	{"<!DOCTYPE domain [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
	 "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>"
	 "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'><!ENTITY f '&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;'>"
	 "<!ENTITY g '&f;&f;&f;&f;&f;&f;&f;&f;&f;&f;'>]><domain><name>&g;&g;&g;</name></domain>",
	 "document type"},
	{"<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain><name>x</name></domain>",
	 "document type"},
	{"<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name>"
	 "</domain>", "document type"},
};

static void test_hostile_text(void **state)
{
	for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
		struct read r = read_text(hostile[i].text, strlen(hostile[i].text));

		assert_says(&r, 0, hostile[i].says);
		done(&r);
	}
}

/* An XML text ends with its root: no beginning of it is one. */
static void test_truncated_anywhere(void **state)
{
	size_t end = strlen(live) - 1;	/* without its newline */

	for (size_t n = 0; n < end; n++) {
		struct read r = read_text(live, n);

		assert_int_equal(r.err, -EINVAL);
		assert_true(r.diag.n_errors > 0);
		done(&r);
	}
}

static void test_size_and_depth(void **state)
{
	size_t len = 10u << 20, deep = 100000;
	char *text = malloc(len);
	struct read r;

	assert_non_null(text);
	memset(text, ' ', len);
	memcpy(text, "<domain><name>web</name>", 24);
	memcpy(text + len - 9, "</domain>", 9);
	r = read_text(text, len);
	assert_says(&r, 0, "larger than 8 MiB");
	done(&r);
	memcpy(text + (4 << 20) - 9, "</domain>", 9);
	r = read_text(text, 4 << 20);
	assert_int_equal(r.err, 0);
	done(&r);
	memcpy(text, "<domain>", 8);
	for (size_t i = 0; i < deep; i++)
		memcpy(text + 8 + 3 * i, "<a>", 3);
	r = read_text(text, 8 + 3 * deep);
	assert_says(&r, 0, "not XML");
	done(&r);
	free(text);
}

static void test_types(void **state)
{
	static const char *const covered[] = {"network", "bridge", "ethernet", "null"};
	static const char *const others[] = {"direct", "hostdev", "vhostuser", "vdpa", "user",
					     "server", "client", "mcast", "udp", "internal", "vds",
					     "", "Bridge", "of-tomorrow"};
	struct sl_nic nic = {};

	for (size_t i = 0; i < sizeof(covered) / sizeof(*covered); i++) {
		nic.type = (char *)covered[i];
		assert_null(sl_nic_uncovered(&nic));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		nic.type = (char *)others[i];
		assert_non_null(sl_nic_uncovered(&nic));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_domain),
		cmocka_unit_test(test_metadata_comes_before_the_filterref),
		cmocka_unit_test(test_an_access_port_binds_no_tag),
		cmocka_unit_test(test_nothing_to_read),
		cmocka_unit_test(test_what_stands_in_a_second_devices_is_read_too),
		cmocka_unit_test(test_devices_of_the_hosts),
		cmocka_unit_test(test_wrong_domains),
		cmocka_unit_test(test_metadata_that_does_not_count_is_not_read),
		cmocka_unit_test(test_too_many_addresses),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_truncated_anywhere),
		cmocka_unit_test(test_size_and_depth),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
