// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/libvirt: what is read of a domain, the configuration, which policy. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libvirt/choose.h"
#include "libvirt/config.h"
#include "libvirt/domain.h"

#define OURS "xmlns:sluice='" SL_LIBVIRT_NAMESPACE "'"
#define MAC "<mac address='52:54:00:12:34:56'/>"

/* ---- domains ---- */

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

/* ---- configuration ---- */

static int parse_config(const char *text, struct sl_libvirt_config *config, struct sl_diag *diag)
{
	*diag = (struct sl_diag){};
	return sl_libvirt_config_parse(text, strlen(text), "libvirt.yaml", config, diag);
}

static void test_config_defaults(void **state)
{
	static const char *const texts[] = {"", "# nothing\n", "---\n", "{}\n",
					    "fail: isolate\naddresses: dhcp\nuncovered: refuse\n"
					    "metadata: use\npolicies: /etc/sluice/libvirt\n"};
	struct sl_libvirt_config config;
	struct sl_diag diag;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(parse_config(texts[i], &config, &diag), 0);
		assert_int_equal(config.fail, SL_FAIL_ISOLATE);
		assert_false(config.any_address || config.uncovered_ok || config.no_metadata);
		assert_string_equal(config.policies, "/etc/sluice/libvirt");
		sl_libvirt_config_free(&config);
		sl_diag_free(&diag);
	}
}

static void test_config_values(void **state)
{
	struct sl_libvirt_config config;
	struct sl_diag diag;

	assert_int_equal(parse_config("fail: open\naddresses: any\nuncovered: warn\n"
				      "metadata: ignore\npolicies: \"/srv/p\"\n", &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_OPEN);
	assert_true(config.any_address && config.uncovered_ok && config.no_metadata);
	assert_string_equal(config.policies, "/srv/p");
	sl_libvirt_config_free(&config);
	assert_int_equal(parse_config("{fail: refuse}", &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_REFUSE);
	sl_libvirt_config_free(&config);
}

static void test_config_wrong(void **state)
{
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
	} cases[] = {
		{"fail: closed\n", 1, 7, "isolate, refuse or open is wanted: found the text \"closed\""},
		{"fail:\n", 1, 0, "found nothing"},
		{"fail: [open]\n", 1, 7, "found a list"},
		{"addresses: dhcp\nfial: open\n", 2, 1, "did you mean \"fail\"?"},
		{"fail: open\nfail: open\n", 2, 1, "stands twice: the first is in line 1"},
		{"policies: etc\n", 1, 11, "absolute path"},
		{"uncovered: yes\n", 1, 12, "refuse or warn"},
		{"metadata: no\n", 1, 11, "use or ignore"},
		{"addresses: 192.0.2.1\n", 1, 12, "dhcp or any"},
		{"- fail\n", 1, 1, "a mapping"},
		{"open\n", 1, 1, "a mapping"},
		{"[fail]: open\n", 0, 0, "a key is a word"},
		{"fail: open\n---\nfail: isolate\n", 2, 0, "second document"},
		{"fail: open\nx: [\n", 0, 0, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sl_libvirt_config config = {.policies = "untouched"};
		struct sl_diag diag;

		assert_int_equal(parse_config(cases[i].text, &config, &diag), -EINVAL);
		assert_true(diag.n_errors > 0);
		assert_string_equal(config.policies, "untouched");
		assert_non_null(strstr(diag.entries[0].message, cases[i].says));
		if (cases[i].line)
			assert_int_equal(diag.entries[0].pos.line, cases[i].line);
		if (cases[i].column)
			assert_int_equal(diag.entries[0].pos.column, cases[i].column);
		sl_diag_free(&diag);
	}
}

/* ---- files: each test stands in an empty directory of its own ---- */

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/sl-libvirt-XXXXXX");
	umask(022);
	return !mkdtemp(dir) || chdir(dir) || mkdir("own", 0755) || mkdir("shipped", 0755);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return chdir("/") || system(command);
}

static void touch(const char *path)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
}

static void test_config_file(void **state)
{
	struct sl_libvirt_config config;
	struct sl_diag diag = {};

	assert_int_equal(sl_libvirt_config_read("none.yaml", false, &config, &diag), 0);
	assert_int_equal(config.fail, SL_FAIL_ISOLATE);
	sl_libvirt_config_free(&config);
	assert_int_equal(sl_libvirt_config_read("none.yaml", true, &config, &diag), -EINVAL);
	touch("empty.yaml");
	assert_int_equal(sl_libvirt_config_read("empty.yaml", true, &config, &diag), 0);
	sl_libvirt_config_free(&config);
	assert_int_equal(chmod("empty.yaml", 0666), 0);
	assert_int_equal(sl_libvirt_config_read("empty.yaml", false, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.entries[diag.n - 1].message, "chmod o-w"));
	assert_int_equal(sl_libvirt_config_read("own", false, &config, &diag), -EINVAL);
	sl_diag_free(&diag);
}

static const struct sl_policy_places places = {"own", "shipped"};

static void assert_chosen(const char *guest, const char *wanted, const char *want)
{
	struct sl_diag diag = {};
	char *path = NULL;

	assert_int_equal(sl_policy_choose(&places, guest, wanted, &path, &diag), 0);
	assert_string_equal(path, want);
	assert_int_equal(diag.n, 0);
	free(path);
}

static void test_choice_in_order(void **state)
{
	assert_chosen("web", NULL, "shipped/vm-isolated.yaml");
	touch("own/default.yaml");
	assert_chosen("web", NULL, "own/default.yaml");
	touch("own/web.yaml");
	assert_chosen("web", NULL, "own/web.yaml");
	assert_chosen("web2", NULL, "own/default.yaml");
	touch("shipped/vm-bridge.yaml");
	assert_chosen("web", "vm-bridge", "shipped/vm-bridge.yaml");
	touch("own/vm-bridge.yaml");
	assert_chosen("web", "vm-bridge", "own/vm-bridge.yaml");
}

static void test_a_wanted_policy_that_is_not_there_is_an_error(void **state)
{
	struct sl_diag diag = {};
	char *path = NULL;

	touch("own/default.yaml");
	assert_int_equal(sl_policy_choose(&places, "web", "gone", &path, &diag), -EINVAL);
	assert_null(path);
	assert_non_null(strstr(diag.entries[0].message, "own/gone.yaml"));
	assert_non_null(strstr(diag.entries[0].message, "shipped/gone.yaml"));
	sl_diag_free(&diag);
}

static void test_a_file_that_cannot_be_read_is_chosen(void **state)
{
	touch("own/default.yaml");
	assert_int_equal(symlink("nowhere", "own/web.yaml"), 0);
	assert_chosen("web", NULL, "own/web.yaml");
	assert_int_equal(mkdir("own/db.yaml", 0700), 0);
	assert_chosen("db", NULL, "own/db.yaml");
}

static void test_names_that_have_no_file(void **state)
{
	static const char *const names[] = {"", ".", "..", ".web", "a/b", "../own/web", "/etc/passwd",
					    "web\n", "web\x7f", "we\x01" "b"};
	char longer[600];

	touch("own/default.yaml");
	touch("own/.web.yaml");
	touch("own/.yaml");
	touch("web.yaml");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_false(sl_guest_has_file(names[i]));
		assert_chosen(names[i], NULL, "own/default.yaml");
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_chosen(longer, NULL, "own/default.yaml");
	touch("own/a b$(x);'\".yaml");
	assert_chosen("a b$(x);'\"", NULL, "own/a b$(x);'\".yaml");
	touch("own/--help.yaml");
	assert_chosen("--help", NULL, "own/--help.yaml");
}

static void test_a_folder_that_anyone_may_write_is_refused(void **state)
{
	struct sl_diag diag = {};
	char *path = NULL;

	touch("own/web.yaml");
	assert_int_equal(chmod("own", 01777), 0);
	assert_int_equal(sl_policy_choose(&places, "web", NULL, &path, &diag), -EINVAL);
	assert_non_null(strstr(diag.entries[0].message, "chmod o-w own"));
	sl_diag_free(&diag);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

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
		cmocka_unit_test(test_config_defaults),
		cmocka_unit_test(test_config_values),
		cmocka_unit_test(test_config_wrong),
		IN_FOLDER(test_config_file),
		IN_FOLDER(test_choice_in_order),
		IN_FOLDER(test_a_wanted_policy_that_is_not_there_is_an_error),
		IN_FOLDER(test_a_file_that_cannot_be_read_is_chosen),
		IN_FOLDER(test_names_that_have_no_file),
		IN_FOLDER(test_a_folder_that_anyone_may_write_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
