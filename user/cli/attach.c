// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice attach: a policy for a network device or a cgroup. */
#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "daemon/pod_cgroup.h"
#include "kernel/expedite.h"
#include "output.h"
#include "pins.h"
#include "target/cgroup_policy.h"
#include "target/device.h"

enum { OPT_DEV = 256, OPT_CGROUP, OPT_MAC, OPT_ADDRESS, OPT_VLAN, OPT_AUDIT, OPT_TRUST };

static const struct option long_options[] = {
	{"dev", required_argument, NULL, OPT_DEV},
	{"cgroup", required_argument, NULL, OPT_CGROUP},
	{"policy", required_argument, NULL, 'p'},
	{"mac", required_argument, NULL, OPT_MAC},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"vlan", required_argument, NULL, OPT_VLAN},
	{"audit", no_argument, NULL, OPT_AUDIT},
	{"trust-clock", no_argument, NULL, OPT_TRUST},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

struct request {
	const char *device, *cgroup;
	const char *bound;		/* an option that is only for devices, or NULL */
	struct sl_attach_options options;
	/* as they were written, for sluiced */
	const char *mac;
	json_t *addresses, *vlans;	/* owned */
	bool json;
};

/* Of two the one would be left out, and nobody told. */
static int set_once(const char **to, const char *option, const char *instead)
{
	if (*to)
		return sl_usage("attach", "%s %s: %s %s was given before; %s", option, optarg, option,
				*to, instead);
	*to = optarg;
	return 0;
}

/* 0, or the exit status of wrong usage. */
static int set_option(struct request *r, int c, char **argv, struct sl_diag *diag)
{
	switch (c) {
	case OPT_DEV:
		return set_once(&r->device, "--dev", "attach each device by itself, or `sluice watch` "
				"all of a name pattern");
	case OPT_CGROUP:
		return set_once(&r->cgroup, "--cgroup", "attach each cgroup by itself, or one above "
				"them all");
	case 'p':
		return set_once(&r->options.policy, "-p", "put one policy together with `include`");
	case OPT_MAC:
		r->bound = "--mac";
		if (r->options.binding.has_mac)
			return sl_usage("attach", "--mac %s: a device has one MAC, and one was given",
					optarg);
		r->mac = optarg;
		sl_binding_mac(&r->options.binding, optarg, diag);
		return 0;
	case OPT_ADDRESS:
		r->bound = "--address";
		json_array_append_new(r->addresses, json_string(optarg));
		sl_binding_address(&r->options.binding, optarg, diag);
		return 0;
	case OPT_VLAN:
		r->bound = "--vlan";
		json_array_append_new(r->vlans, json_string(optarg));
		sl_binding_vlan(&r->options.binding, optarg, diag);
		return 0;
	case OPT_AUDIT:
		r->options.audit = true;
		return 0;
	case OPT_TRUST:
		r->options.trust_clock = true;
		return 0;
	case 'o':
		if (sl_output_option(optarg, &r->json))
			return 0;
		return sl_usage("attach", "-o is text or json, not '%s'", optarg);
	}
	return sl_option_wrong("attach", c, argv);
}

static const char *way(const struct sl_target *t)
{
	return t->flags & SL_TARGET_TCX ? "tcx" : "clsact";
}

static void print_binding(const struct sl_binding_spec *b)
{
	char text[SL_CIDR_TEXT], mac[SL_MAC_TEXT];
	size_t i;

	printf("  mac %s, addresses", b->has_mac ? sl_mac_format(b->mac, mac) : "any");
	for (i = 0; i < b->n_addresses; i++)
		printf(" %s", sl_cidr_format(&b->addresses[i], text));
	printf("%s%s", b->lease ? " dhcp" : "", b->has_addresses ? "" : " any");
	for (i = 0; i < b->n_vlans; i++)
		printf("%s %u", i ? "" : ", vlan", b->vlans[i]);
	putchar('\n');
}

struct done {
	const char *name, *policy, *via;
	__u64 generation;
	unsigned ifindex, slot;
	__u64 cgroup;		/* its id; 0: a device */
	bool guarded;		/* the other end of a veth, as far as we know */
};

static json_t *done_json(const struct done *d)
{
	json_t *j = json_pack("{s:o, s:s, s:o, s:o, s:i}", "name", sl_json_text(d->name), "policy",
			      d->policy, "generation", sl_json_number(d->generation), "via",
			      sl_json_text(d->via), "slot", (int)d->slot);

	if (d->cgroup)
		json_object_set_new(j, "cgroup", sl_json_number(d->cgroup));
	else
		json_object_set_new(j, "ifindex", json_integer(d->ifindex));
	if (!d->cgroup)
		json_object_set_new(j, "veth", json_boolean(sl_device_is_veth(d->name)));
	return j;
}

static void print_cgroup(const struct done *d, bool by_daemon)
{
	sl_put_text(d->name, stdout);
	printf(": policy %s, generation %llu, by programs on ", d->policy,
	       (unsigned long long)d->generation);
	sl_put_text(d->via && !strcmp(d->via, d->name) ? "it" : d->via ? d->via :
		    "a cgroup above", stdout);
	puts("\n  AF_PACKET and other families but IPv4 and IPv6 are not judged: a workload with "
	     "CAP_NET_RAW\n  has them");
	if (!strcmp(d->name, "/"))
		puts("  the root of all cgroups: every process of the machine is judged, this shell and "
		     "who logs in too;\n  `sluice detach --cgroup /` takes it back");
	if (!by_daemon)
		puts("  without sluiced nothing records events (`sluice monitor` shows them) or "
		     "follows @host, @gateway\n  and @subnet; the kernel goes on enforcing");
}

static void print_attached(const struct request *r, const struct done *d, bool by_daemon)
{
	if (r->json) {
		sl_json_print(done_json(d));
		return;
	}
	if (d->cgroup) {
		print_cgroup(d, by_daemon);
		return;
	}
	sl_put_text(d->name, stdout);
	printf(": policy %s, generation %llu, by %s\n", d->policy,
	       (unsigned long long)d->generation, d->via);
	print_binding(&r->options.binding);
	if (sl_device_is_veth(d->name) && !d->guarded)
		puts("  a veth: unless its other end is guarded (`sluice status` warns), whoever has "
		     "CAP_NET_ADMIN there\n  can send past this policy (docs/SECURITY.md)");
	if (!by_daemon)
		puts("  without sluiced nothing records events (`sluice monitor` shows them), "
		     "attaches again what\n  another program takes off, or follows @host, @gateway "
		     "and @subnet; the kernel goes on enforcing");
}

/* Who may not attach is told so first: what else is wrong is found by who may. */
static int may_attach(struct sl_diag *diag)
{
	if (capng_get_caps_process() || capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) ||
	    capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return 0;
	return sl_error(diag, NULL, "attaching programs needs root (sudo); `sluice check`, `explain` "
			"and `test` need no privilege");
}

static int attach_device(const struct request *r, struct sl_diag *diag)
{
	struct sl_attached attached;
	struct sl_device device;
	struct sl_state *state;
	struct sl_target t;
	bool guarded = false;
	int err = may_attach(diag);

	if (!err)
		err = sl_device_find(r->device, &device, diag);
	if (!err)
		sl_expedite_open(); /* without it takes longer */
	if (err || sl_pins_open(true, &state))
		return SL_EXIT_FAILED;
	err = sl_device_attach(state, &device, &r->options, &attached, diag);
	if (!err)
		err = sl_state_target(state, attached.slot, &t);
	if (!err)
		guarded = sl_state_peer(state, &t) == SL_PEER_GUARDED;
	sl_state_close(state);
	if (!err)
		print_attached(r, &(struct done){device.name, attached.policy, way(&t),
						 attached.generation, device.ifindex,
						 attached.slot, 0, guarded}, false);
	else if (!diag->n_errors)
		sl_error(diag, NULL, "%s: %s", r->device, strerror(-err));
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

static int attach_cgroup(const struct request *r, struct sl_diag *diag)
{
	struct sl_attach_options options = r->options;
	struct sl_cgroup_target cgroup;
	struct sl_attached attached;
	struct sl_state *state;
	struct sl_target t;
	char *point = NULL;
	int err = may_attach(diag);

	if (!err)
		err = sl_cgroup_open_target(r->cgroup, &cgroup, diag);

	if (err)
		return SL_EXIT_FAILED;
	sl_expedite_open();
	err = sl_pins_open(true, &state);
	if (!err) {
		options.foreign = sl_pod_is_monitor;
		err = sl_cgroup_attach(state, &cgroup, &options, &attached, diag);
		if (!err)
			err = sl_state_target(state, attached.slot, &t);
		if (!err)
			point = sl_state_cgroup_path(&(struct sl_target){.cgroup_id = t.point});
		sl_state_close(state);
		if (!err)
			print_attached(r, &(struct done){cgroup.path, attached.policy, point,
							 attached.generation, 0, attached.slot,
							 cgroup.id, false}, false);
		else if (!diag->n_errors)
			sl_error(diag, NULL, "%s: %s", r->cgroup, strerror(-err));
	}
	free(point);
	sl_cgroup_close_target(&cgroup);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* The policy's path as sluiced finds it, or its text. NULL: said in diag. */
static json_t *request_json(const struct request *r, struct sl_diag *diag)
{
	json_t *j = sl_control_target(r->cgroup, r->cgroup ? r->cgroup : r->device);
	const char *policy = r->options.policy;
	char real[PATH_MAX], *text;
	size_t len;

	if (!j)
		return NULL;
	if (json_object_update_new(j, json_pack("{s:O, s:O, s:b, s:b, s:s?}", "addresses",
						r->addresses, "vlans", r->vlans, "audit",
						r->options.audit, "trust_clock",
						r->options.trust_clock, "mac", r->mac)))
		sl_error(diag, NULL, "an option is not UTF-8");
	if (strcmp(policy, "-")) {
		if (json_object_set_new(j, "policy",
					json_string(realpath(policy, real) ? real : policy)))
			sl_error(diag, NULL, "the policy's path is not UTF-8: give it on standard "
				 "input (-p -)");
		if (!diag->n_errors)
			return j;
		json_decref(j);
		return NULL;
	}
	if (sl_file_read(policy, SL_POLICY_BYTES_MAX, NULL, &text, &len, diag)) {
		json_decref(j);
		return NULL;
	}
	if (json_object_set_new(j, "text", json_stringn(text, len))) {
		sl_error(diag, NULL, "<stdin>: not UTF-8");
		json_decref(j);
		j = NULL;
	}
	free(text);
	return j;
}

static int ask(struct sl_control *control, const struct request *r, struct sl_diag *diag)
{
	json_t *request = request_json(r, diag), *a;

	a = request ? sl_control_get(control, "attach", request) : NULL;
	if (!a)
		return SL_EXIT_FAILED;
	print_attached(r, &(struct done){
		json_string_value(json_object_get(a, "name")),
		json_string_value(json_object_get(a, "policy")),
		json_string_value(json_object_get(a, "via")),
		(__u64)json_integer_value(json_object_get(a, "generation")),
		(unsigned)json_integer_value(json_object_get(a, "ifindex")),
		(unsigned)json_integer_value(json_object_get(a, "slot")),
		(__u64)json_integer_value(json_object_get(a, "cgroup")), false}, true);
	json_decref(a);
	return SL_EXIT_OK;
}

static int attach(const struct request *r, struct sl_diag *diag)
{
	struct sl_control *control;
	/* a device is one network namespace's, a cgroup is not */
	int found = sl_control_find(r->device != NULL, &control);

	if (found == -ENOENT)
		return r->cgroup ? attach_cgroup(r, diag) : attach_device(r, diag);
	if (found)
		return found;
	found = ask(control, r, diag);
	sl_control_close(control);
	return found;
}

int cmd_attach(int argc, char **argv)
{
	struct sl_diag diag = {};
	struct request r = {.addresses = json_array(), .vlans = json_array()};
	int c, status = 0;

	opterr = 0;
	while (!status && (c = getopt_long(argc, argv, ":p:o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("attach");
		status = set_option(&r, c, argv, &diag);
	}
	if (!status && optind < argc)
		status = sl_usage("attach", "what is '%s'?", argv[optind]);
	if (!status && r.device && r.cgroup)
		status = sl_usage("attach", "--dev or --cgroup, not both: attach each by itself");
	if (!status && ((!r.device && !r.cgroup) || !r.options.policy))
		status = sl_usage("attach", "--dev or --cgroup, and -p, are needed");
	if (!status && r.cgroup && r.bound)
		status = sl_usage("attach", "%s is for devices: a cgroup's sockets have the "
				  "addresses of their host", r.bound);
	if (!status && diag.n_errors)
		status = SL_EXIT_USAGE;
	if (!status && r.options.policy)
		status = sl_output_done("attach", attach(&r, &diag));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	json_decref(r.addresses);
	json_decref(r.vlans);
	return status;
}
