// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* JSON on stdout. */
#include "output.h"

void sl_json_print(json_t *object)
{
	if (!object)
		fputs("sluice: out of memory\n", stderr);
	else if (!json_dumpf(object, stdout, 0))
		putchar('\n');
	json_decref(object);
}
