/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A network device as a target: who the workload on it is (its binding), and from a
 * policy file to a judged device. docs/devices.md.
 */
#ifndef SLUICE_TARGET_DEVICE_H
#define SLUICE_TARGET_DEVICE_H

#include "compile/compile.h"
#include "kernel/state.h"
#include "resolve/resolve.h"
#include "target/processes.h"

#define SL_BINDING_ADDRESSES_MAX (3 * SL_BINDING_CHUNKS_MAX)

/* A binding as it is given; owns nothing. Zero: nothing is bound. */
struct sl_binding_spec {
	bool has_mac;
	__u8 mac[6];
	bool has_addresses;	/* only these, and, if lease, what DHCP gave */
	bool lease;
	bool routed;		/* those that the host's routes lead back to; not with a MAC. Of a
				 * family of which no network is known there: any */
	struct sl_cidr addresses[SL_BINDING_ADDRESSES_MAX];
	size_t n_addresses;
	__u16 vlans[4];
	size_t n_vlans;
};

/* Nothing in it is a host's: unspecified, loopback, multicast, reserved; IPv4 in IPv6. */
bool sl_address_is_nobodys(const struct sl_cidr *cidr);

/* Each reads one text as the options of `attach` take it: 0, or -EINVAL with the
 * reason in diag. An address is ADDRESS, PREFIX or `dhcp`. */
int sl_binding_mac(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag);
int sl_binding_address(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag);
int sl_binding_vlan(struct sl_binding_spec *spec, const char *text, struct sl_diag *diag);

/* `52:54:00:12:34:56`, nothing before, between or behind it. */
bool sl_mac_parse(const char *text, __u8 mac[6]);

/* The binding for a table, which borrows from spec: the link-local address that is made
 * from the MAC is added where there is IPv6. */
struct sl_binding sl_binding_complete(struct sl_binding_spec *spec);

/* What DHCP may say on that network, and which families are routed; borrows from env. */
void sl_binding_network(struct sl_binding *binding, const struct sl_environment *env);

/* `52:54:00:12:34:56`. Returns buf. */
#define SL_MAC_TEXT 18
const char *sl_mac_format(const __u8 mac[6], char buf[SL_MAC_TEXT]);

/* A table's binding as it was given; false: it has none. */
bool sl_binding_of_table(const struct sl_table *table, struct sl_binding_spec *out);

/* Do both bind the same, as a table would hold it? */
bool sl_binding_same(const struct sl_binding_spec *a, const struct sl_binding_spec *b);

struct sl_lookout;

struct sl_attach_options {
	const char *policy;	/* path; `-` is standard input */
	/* Instead of what the file holds now, borrowed, also by what it is resolved to
	 * (sl_resolve_lent); policy is then where its includes and sets are looked for from
	 * (NULL: it has none). */
	struct sl_policy *parsed;
	bool audit, enforce;	/* whatever the policy says; at most one */
	bool managed, by_hand;	/* marks the table: SL_F_MANAGED, SL_F_BY_HAND */
	bool trust_clock;
	const char *hosts;	/* the workload's hosts file, borrowed (cgroups only); NULL: unknown */
	bool forwarder;		/* somebody hosts one for `mode: forward` (cgroups only) */
	struct sl_binding_spec binding;
	const struct sl_lookout *lookout; /* borrowed: of cgroups only; target/lookout.h */
	sl_foreign_fn *foreign;		  /* without one; of cgroups only; processes.h */
	const struct sl_environment *network; /* borrowed: where no warnings are wanted */
	sl_since_fn *since;	/* of resolve.h, or NULL */
	void *since_context;
};

/* What was attached. */
struct sl_attached {
	__u32 slot;
	__u64 generation;
	char policy[64];
	size_t n_rules;
};

/* The policy's name, cut, and the number of its rules. */
void sl_attached_fill(struct sl_attached *attached, const struct sl_policy *resolved,
		      const struct sl_compiled *compiled);

/*
 * Policy file -> resolved as the device sees the network -> table -> device. A device
 * that has a policy gets the new one. 0, or -errno with the reason in diag and
 * nothing changed; warnings are in diag too.
 */
int sl_device_attach(struct sl_state *state, const struct sl_device *device,
		     const struct sl_attach_options *options, struct sl_attached *out,
		     struct sl_diag *diag);

/*
 * The parts of it, for who attaches again and again: the network as the device sees it
 * (free with sl_environment_free), what the policy means there (owned by the caller), and
 * a policy of that kind onto the device. env of sl_device_put is for the warnings; NULL:
 * none are wanted.
 */
int sl_device_environment(const struct sl_device *device, struct sl_environment *env,
			  struct sl_diag *diag);
int sl_device_resolve(const struct sl_attach_options *options, const struct sl_environment *env,
		      struct sl_policy **out, struct sl_diag *diag);
int sl_device_put(struct sl_state *state, const struct sl_device *device,
		  const struct sl_policy *resolved, const struct sl_environment *env,
		  const struct sl_attach_options *options, struct sl_attached *out,
		  struct sl_diag *diag);

/*
 * Is what the slot obeys, to the bit, what sl_device_put would give it now? Never with a
 * rule that expires: its deadline is made anew each time.
 */
bool sl_device_has(struct sl_state *state, __u32 slot, const struct sl_policy *resolved,
		   const struct sl_environment *env, const struct sl_attach_options *options);

/*
 * A device whose policy cannot be enforced denies everything, ARP and DHCP too, under a
 * policy of that name; it replaces what the device had.
 */
int sl_device_isolate(struct sl_state *state, const struct sl_device *device, const char *name,
		      struct sl_attached *out, struct sl_diag *diag);

/* Would sl_device_put take it? 0, or -errno with the reason in diag. */
int sl_device_check(const struct sl_policy *resolved, const struct sl_attach_options *options,
		    struct sl_diag *diag);

#endif
