// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From a policy file to a judged device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compile/device.h"
#include "device.h"

/* The link-local address that is made from the MAC (RFC 4291, appendix A) is bound
 * with it where the workload has IPv6 at all. */
static void add_link_local(struct sl_binding_spec *spec)
{
	struct sl_cidr own = {.family = 6, .len = 128, .addr = {0xfe, 0x80}};
	const __u8 *m = spec->mac;
	bool v6 = false;
	size_t i;

	for (i = 0; i < spec->n_addresses; i++)
		v6 |= spec->addresses[i].family == 6;
	if (!v6 || !spec->has_mac || spec->n_addresses == SL_BINDING_ADDRESSES_MAX)
		return;
	memcpy(own.addr + 8, (__u8[]){m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}, 8);
	for (i = 0; i < spec->n_addresses; i++)
		if (sl_cidr_within(&own, &spec->addresses[i]))
			return;
	spec->addresses[spec->n_addresses++] = own;
}

struct sl_binding sl_binding_complete(struct sl_binding_spec *spec)
{
	struct sl_binding b;

	add_link_local(spec);
	b = (struct sl_binding){.has_mac = spec->has_mac, .has_addresses = spec->has_addresses,
				.lease = spec->lease, .routed4 = spec->routed,
				.routed6 = spec->routed, .addresses = spec->addresses,
				.n_addresses = spec->n_addresses, .n_vlans = spec->n_vlans};
	memcpy(b.mac, spec->mac, sizeof(b.mac));
	memcpy(b.vlans, spec->vlans, sizeof(b.vlans));
	return b;
}

/* Every interface has link-local ones. */
static bool has_network(const struct sl_environment *env, __u8 family)
{
	static const struct sl_cidr link_local = {.addr = {0xfe, 0x80}, .family = 6, .len = 10};

	for (size_t i = 0; i < env->n_subnet; i++)
		if (env->subnet[i].family == family && !sl_cidr_within(&env->subnet[i], &link_local))
			return true;
	return false;
}

void sl_binding_network(struct sl_binding *binding, const struct sl_environment *env)
{
	binding->upper = env->upper;
	binding->routed4 &= has_network(env, 4);
	binding->routed6 &= has_network(env, 6);
	binding->networks = env->subnet;
	binding->n_networks = env->n_subnet;
	binding->taken[0] = env->host;
	binding->n_taken[0] = env->n_host;
	binding->taken[1] = env->gateway;
	binding->n_taken[1] = env->n_gateway;
}

int sl_device_environment(const struct sl_device *device, struct sl_environment *env,
			  struct sl_diag *diag)
{
	int err = sl_environment_read_device(device->ifindex, NULL, env);

	if (err)
		sl_error(diag, NULL, "device '%s': cannot read its network: %s", device->name,
			 strerror(-err));
	return err;
}

int sl_device_resolve(const struct sl_attach_options *options, const struct sl_environment *env,
		      struct sl_policy **out, struct sl_diag *diag)
{
	struct sl_resolve_options resolve = {.trust_clock = options->trust_clock, .env = env,
					     .since = options->since,
					     .since_context = options->since_context};
	struct sl_policy *policy = NULL;
	int err;

	if (options->parsed)
		err = sl_resolve_lent(options->parsed, options->policy, &resolve, &policy, diag);
	else
		err = sl_policy_load(options->policy, &resolve, &policy, diag);
	if (!err)
		err = sl_device_refuse(policy, diag);
	if (err) {
		sl_policy_free(policy);
		return err;
	}
	if (options->audit)
		policy->mode = SL_MODE_AUDIT;
	else if (options->enforce)
		policy->mode = SL_MODE_ENFORCE;
	*out = policy;
	return 0;
}

static int compile(const struct sl_policy *policy, const struct sl_environment *env,
		   const struct sl_attach_options *options, __u64 generation,
		   struct sl_compiled *out, struct sl_diag *diag)
{
	struct sl_binding_spec spec = options->binding;
	struct sl_binding binding = sl_binding_complete(&spec);
	const struct sl_environment *net = env ? env : options->network;
	struct sl_compile_options compile = {.binding = &binding, .generation = generation,
					     .boot_epoch_ns = sl_boot_epoch_ns()};
	int err;

	if (net)
		sl_binding_network(&binding, net);
	else
		binding.routed4 = binding.routed6 = false;
	err = sl_compile(policy, &compile, out, diag);
	if (!err && options->managed)
		out->table.words[SL_H_FLAGS] |= SL_F_MANAGED;
	if (!err && options->by_hand)
		out->table.words[SL_H_FLAGS] |= SL_F_BY_HAND;
	if (!err && env)
		sl_device_review(policy, out, env, &binding, sl_boot_ns(), diag);
	return err;
}

int sl_device_check(const struct sl_policy *resolved, const struct sl_attach_options *options,
		    struct sl_diag *diag)
{
	struct sl_compiled compiled;
	int err = compile(resolved, NULL, options, 1, &compiled, diag);

	if (!err)
		sl_compiled_free(&compiled);
	return err;
}

void sl_attached_fill(struct sl_attached *attached, const struct sl_policy *resolved,
		      const struct sl_compiled *compiled)
{
	attached->n_rules = compiled->n_rules;
	snprintf(attached->policy, sizeof(attached->policy), "%s",
		 resolved->name ? resolved->name : "");
}

int sl_device_put(struct sl_state *state, const struct sl_device *device,
		  const struct sl_policy *resolved, const struct sl_environment *env,
		  const struct sl_attach_options *options, struct sl_attached *out,
		  struct sl_diag *diag)
{
	struct sl_attached attached = {.generation = sl_state_next_generation(state)};
	struct sl_compiled compiled;
	int err = compile(resolved, env, options, attached.generation, &compiled, diag);

	if (err)
		return err;
	err = sl_state_attach_device(state, device, &compiled.table, &attached.slot, diag);
	if (!err) {
		sl_attached_fill(&attached, resolved, &compiled);
		*out = attached;
	}
	sl_compiled_free(&compiled);
	return err;
}

bool sl_device_has(struct sl_state *state, __u32 slot, const struct sl_policy *resolved,
		   const struct sl_environment *env, const struct sl_attach_options *options)
{
	struct sl_attach_options quiet = *options;
	struct sl_diag ignored = {};
	struct sl_compiled compiled;
	struct sl_table table;
	bool same = false;

	quiet.network = env;
	if (sl_state_table(state, slot, &table))
		return false;
	if (!(table.words[SL_H_FLAGS] & SL_F_DEADLINES) &&
	    !compile(resolved, NULL, &quiet, table.words[SL_H_GENERATION], &compiled, &ignored)) {
		same = compiled.table.n_words == table.n_words &&
		       !memcmp(compiled.table.words, table.words,
			       table.n_words * sizeof(*table.words)) &&
		       !compiled.n_patterns;	/* they stand beside the table, unread */
		sl_compiled_free(&compiled);
	}
	sl_diag_free(&ignored);
	free(table.words);
	return same;
}

int sl_device_attach(struct sl_state *state, const struct sl_device *device,
		     const struct sl_attach_options *options, struct sl_attached *out,
		     struct sl_diag *diag)
{
	struct sl_policy *policy = NULL;
	struct sl_environment env = {};
	int err = sl_device_environment(device, &env, diag);

	if (!err)
		err = sl_device_resolve(options, &env, &policy, diag);
	if (!err)
		err = sl_device_put(state, device, policy, &env, options, out, diag);
	sl_policy_free(policy);
	sl_environment_free(&env);
	return err;
}

int sl_device_isolate(struct sl_state *state, const struct sl_device *device, const char *name,
		      struct sl_attached *out, struct sl_diag *diag)
{
	static const struct sl_attach_options nothing_bound;
	struct sl_policy nothing = {
		.name = (char *)name,
		.default_action = SL_DENY,
		.device = {.arp_deny = true, .nd_deny = true, .dhcp_deny = true},
	};

	return sl_device_put(state, device, &nothing, NULL, &nothing_bound, out, diag);
}

static bool holds(const struct sl_binding_spec *spec, const struct sl_cidr *cidr)
{
	for (size_t i = 0; i < spec->n_addresses; i++)
		if (!memcmp(&spec->addresses[i], cidr, sizeof(*cidr)))
			return true;
	return false;
}

static bool same_addresses(struct sl_binding_spec a, struct sl_binding_spec b)
{
	bool same = a.has_addresses == b.has_addresses && a.lease == b.lease;

	add_link_local(&a);
	add_link_local(&b);
	for (size_t i = 0; i < a.n_addresses; i++)
		same &= holds(&b, &a.addresses[i]);
	for (size_t i = 0; i < b.n_addresses; i++)
		same &= holds(&a, &b.addresses[i]);
	return same;
}

bool sl_binding_same(const struct sl_binding_spec *a, const struct sl_binding_spec *b)
{
	return a->has_mac == b->has_mac && (!a->has_mac || !memcmp(a->mac, b->mac, sizeof(a->mac))) &&
	       a->n_vlans == b->n_vlans &&
	       !memcmp(a->vlans, b->vlans, a->n_vlans * sizeof(*a->vlans)) && same_addresses(*a, *b);
}
