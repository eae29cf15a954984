// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <linux/btf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "no_btf.h"

int sl_no_btf(char path[SL_NO_BTF_PATH])
{
	struct {
		struct btf_header header;
		char strings[1];
	} btf = {.header = {.magic = BTF_MAGIC, .version = BTF_VERSION,
			    .hdr_len = sizeof(struct btf_header), .str_len = 1}};
	const size_t size = sizeof(struct btf_header) + 1;
	int fd = memfd_create("sluice-no-btf", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(path, SL_NO_BTF_PATH, "/proc/self/fd/%d", fd);
	if (write(fd, &btf, size) == (ssize_t)size && !access(path, R_OK))
		return fd;
	close(fd);
	return -1;
}
