// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dlfcn.h>
#include <stdlib.h>

#include "late.h"
#include "policy/diag.h"

/* As they were called where this was built: Makefile. */
static const char *const names[] = {
	[SL_LATE_XML] = SL_SONAME_XML,	 [SL_LATE_DNS] = SL_SONAME_DNS,
	[SL_LATE_TLS] = SL_SONAME_TLS,	 [SL_LATE_HTTP] = SL_SONAME_HTTP,
	[SL_LATE_CRYPT] = SL_SONAME_CRYPT, [SL_LATE_IDN] = SL_SONAME_IDN,
	[SL_LATE_CURSES] = SL_SONAME_CURSES,
};

int sl_late_need(enum sl_late library, struct sl_diag *diag)
{
	const char *name = names[library], *now = getenv("LD_BIND_NOW");

	if (dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD))
		return 0;
	/* all was bound when the program started, and this to nothing */
	if (now && *now)
		return sl_error(diag, NULL, "%s cannot be used: LD_BIND_NOW is set, and this program "
				"loads what it needs when it needs it: unset LD_BIND_NOW", name);
	if (!dlopen(name, RTLD_NOW | RTLD_GLOBAL))
		return sl_error(diag, NULL, "a library that this needs cannot be loaded: %s",
				dlerror());
	return 0;
}
