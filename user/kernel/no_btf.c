// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
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

static bool write_all(int fd, const char *from, size_t size)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = pwrite(fd, from + done, size - done, (off_t)done);
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

int sl_no_btf(char path[SL_NO_BTF_PATH])
{
	const struct {
		struct btf_header header;
		char strings[1];
	} btf = {.header = {.magic = BTF_MAGIC, .version = BTF_VERSION,
			    .hdr_len = sizeof(struct btf_header), .str_len = 1}};
	int fd = memfd_create("sluice-btf", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(path, SL_NO_BTF_PATH, "/proc/self/fd/%d", fd);
	if (write_all(fd, (const char *)&btf, sizeof(struct btf_header) + 1) &&
	    !access(path, R_OK))
		return fd;
	close(fd);
	return -1;
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

int sl_few_types(int fd, const struct btf *of)
{
	void *all, *few = NULL;
	size_t size, n;
	int err;

	all = map_kernel(&size);
	if (!all)
		return -ENOENT;
	err = sl_few_types_of(of, all, size, &few, &n);
	if (!err)
		err = write_all(fd, few, n) ? 0 : -EIO;
	else if (err == -EINVAL)
		err = write_all(fd, all, size) ? 0 : -EIO;
	free(few);
	munmap(all, size);
	return err;
}
