// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which operation means what. At `start` the guest's devices exist and qemu does not:
 * what is attached then sees the guest's first frame.
 */
#include "hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hook_nic.h"
#include "resolve/resolve.h"

enum meaning { NOTHING, START, RECONNECT, FORGET };

/* libvirt's virHookQemuOp. migrate and restore ask whether the XML is to be changed
 * (no output: it is not); both are followed by a start. A NIC that is plugged into a
 * running guest has no operation. */
static enum meaning meaning_of(const char *op, struct sl_diag *diag)
{
	static const struct {
		const char *op;
		enum meaning meaning;
	} ops[] = {
		{"prepare", NOTHING},	{"start", START},	{"started", NOTHING},
		{"stopped", FORGET},	{"release", FORGET},	{"migrate", NOTHING},
		{"restore", NOTHING},	{"reconnect", RECONNECT}, {"attach", START},
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(op, ops[i].op))
			return ops[i].meaning;
	sl_warn(diag, NULL, "operation '%s' is not known here: nothing is done", op);
	return NOTHING;
}

/* A configuration that cannot be read says nothing that could be relied on. */
static void read_config(const struct sl_hook_call *call, struct sl_guest *guest)
{
	const char *path = call->config ? call->config : SL_LIBVIRT_CONFIG;

	if (!sl_libvirt_config_read(path, call->config, &guest->config, guest->diag))
		return;
	guest->config = (struct sl_libvirt_config){.fail = SL_FAIL_ISOLATE};
	guest->config_is_broken = true;
	sl_error(guest->diag, NULL, "%s cannot be used: every NIC is treated as if its policy were "
		 "broken (fail: isolate)", path);
}

static int read_domain(const struct sl_hook_call *call, struct sl_guest *guest)
{
	size_t len;
	char *text;
	int err = sl_file_read("-", SL_DOMAIN_BYTES_MAX, NULL, &text, &len, guest->diag);

	if (err)
		return err;
	err = sl_libvirt_domain_read(text, len, "domain XML", !guest->config.no_metadata,
				     &guest->domain, guest->diag);
	free(text);
	if (err || !strcmp(guest->domain.name, call->guest))
		return err;
	return sl_error(guest->diag, NULL, "the domain XML is that of '%s'", guest->domain.name);
}

/* Without its XML nobody knows which devices are the guest's. */
static int start_unknown(const struct sl_guest *guest)
{
	if (guest->config.fail != SL_FAIL_OPEN) {
		sl_error(guest->diag, NULL, "the domain XML cannot be used: the guest is refused");
		return 1;
	}
	sl_warn(guest->diag, NULL, "the domain XML cannot be used: THE GUEST STARTS UNFILTERED "
		"(fail: open)");
	return 0;
}

static int start(const struct sl_hook_call *call, struct sl_guest *guest)
{
	bool refused = false;

	if (read_domain(call, guest))
		return start_unknown(guest);
	for (size_t i = 0; i < guest->domain.n_nics; i++)
		refused |= !sl_hook_start_nic(guest, &guest->domain.nics[i]);
	return refused;
}

/* The guest runs, and would be killed by a failure. */
static void reconnect(const struct sl_hook_call *call, struct sl_guest *guest)
{
	if (read_domain(call, guest)) {
		sl_error(guest->diag, NULL, "the domain XML cannot be used: what was attached goes "
			 "on, nothing new is");
		return;
	}
	for (size_t i = 0; i < guest->domain.n_nics; i++)
		sl_hook_reconnect_nic(guest, &guest->domain.nics[i]);
}

static void forget(const struct sl_hook_call *call, struct sl_guest *guest)
{
	struct sl_state_options options = {.path = call->state};

	if (!sl_state_open(&options, &guest->state, guest->diag))
		sl_state_sweep(guest->state);
}

int sl_hook_run(const struct sl_hook_call *call, struct sl_diag *diag)
{
	struct sl_guest guest = {.name = call->guest, .state_path = call->state, .diag = diag};
	int status = 0;

	switch (meaning_of(call->op, diag)) {
	case NOTHING:
		break;
	case START:
		read_config(call, &guest);
		status = start(call, &guest);
		break;
	case RECONNECT:
		read_config(call, &guest);
		reconnect(call, &guest);
		break;
	case FORGET:
		forget(call, &guest);
		break;
	}
	sl_state_close(guest.state);
	sl_libvirt_domain_free(&guest.domain);
	sl_libvirt_config_free(&guest.config);
	return status;
}
