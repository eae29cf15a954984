// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <fcntl.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "few_types.h"
#include "no_btf.h"

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"

static int file_of(const void *btf, size_t size, char path[SL_NO_BTF_PATH])
{
	int fd = memfd_create("sluice-btf", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(path, SL_NO_BTF_PATH, "/proc/self/fd/%d", fd);
	if (write(fd, btf, size) == (ssize_t)size && !access(path, R_OK))
		return fd;
	close(fd);
	return -1;
}

int sl_no_btf(char path[SL_NO_BTF_PATH])
{
	struct {
		struct btf_header header;
		char strings[1];
	} btf = {.header = {.magic = BTF_MAGIC, .version = BTF_VERSION,
			    .hdr_len = sizeof(struct btf_header), .str_len = 1}};

	return file_of(&btf, sizeof(struct btf_header) + 1, path);
}

/* ---- the running kernel's ---- */

static bool read_all(int fd, char *to, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = read(fd, to + done, size - done);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* Since 6.16 it can be mapped; before, it is read, at most a page at once. */
static void *bytes_of(int fd, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (at != MAP_FAILED)
		return at;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		  -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (read_all(fd, at, size))
		return at;
	munmap(at, size);
	return NULL;
}

static void *map_kernel(size_t *size)
{
	int fd = open(KERNEL_BTF, O_RDONLY | O_CLOEXEC);
	void *at = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && st.st_size > 0) {
		*size = (size_t)st.st_size;
		at = bytes_of(fd, *size);
	}
	close(fd);
	return at;
}

int sl_few_types(const struct btf *of, char path[SL_NO_BTF_PATH])
{
	void *all, *few;
	size_t size, n;
	int fd = -1;

	all = map_kernel(&size);
	if (!all)
		return -1;
	if (!sl_few_types_of(of, all, size, &few, &n)) {
		fd = file_of(few, n, path);
		free(few);
	}
	munmap(all, size);
	return fd;
}
