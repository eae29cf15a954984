/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the tests of user/alerts share. After cmocka.h. */
#ifndef SLUICE_TEST_ALERTS_LAB_H
#define SLUICE_TEST_ALERTS_LAB_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000000000ll

static inline void temporary(char path[64])
{
	int fd;

	strcpy(path, "/tmp/sl-alerts-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
}

#endif
