# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A clock of sluiced's own, which jumps."""
import struct
import subprocess

CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const long *shift;

__attribute__((constructor)) static void begin(void)
{
	int fd = open(getenv("SLUICE_TEST_CLOCK"), O_RDONLY | O_CLOEXEC);

	shift = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int err = syscall(SYS_clock_gettime, clock, ts);

	if (!err && shift && clock == CLOCK_REALTIME)	/* libraries begin before us */
		ts->tv_sec += *shift;
	return err;
}

time_t time(time_t *out)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
"""
DAY = 86400


class Clock:
    """What a program takes for the wall clock: the machine's, shifted."""

    def __init__(self, folder):
        self.path, library = folder / "shift", folder / "clock.so"
        self.set(0)
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=CLOCK,
                       text=True, check=True)
        self.env = {"LD_PRELOAD": str(library), "SLUICE_TEST_CLOCK": str(self.path)}

    def set(self, seconds):
        with open(self.path, "r+b" if self.path.exists() else "wb") as f:
            f.write(struct.pack("=q", seconds))
