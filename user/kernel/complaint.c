// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "complaint.h"

/* Programs are loaded by several threads (parts.h). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last_complaint[256];

static int keep_complaint(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[256];

	if (level == LIBBPF_WARN) {
		vsnprintf(line, sizeof(line), format, args);
		line[strcspn(line, "\n")] = 0;
		pthread_mutex_lock(&lock);
		if (!last_complaint[0])
			memcpy(last_complaint, line, sizeof(line));
		pthread_mutex_unlock(&lock);
	}
	return 0;
}

libbpf_print_fn_t sl_complaints_begin(void)
{
	last_complaint[0] = 0;
	return libbpf_set_print(keep_complaint);
}

void sl_complaints_end(libbpf_print_fn_t before)
{
	libbpf_set_print(before);
}

void sl_say_why(struct sl_diag *diag, const char *what, int err)
{
	const char *colon = last_complaint[0] ? ": " : "";

	if (err == -EPERM || (err == -EACCES && !last_complaint[0]))
		sl_error(diag, NULL, "%s: %s: CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed "
			 "(run with sudo; `sluice doctor` lists what is missing)%s%s", what,
			 strerror(-err), colon, last_complaint);
	else
		sl_error(diag, NULL, "%s: %s%s%s (`sluice doctor` lists what this kernel lacks)",
			 what, strerror(-err), colon, last_complaint);
}
