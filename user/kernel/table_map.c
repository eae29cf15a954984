// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A compiled table as a kernel map: copied, read back, frozen. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel.h"

static size_t mapped_size(const struct sl_table *table)
{
	size_t page = sysconf(_SC_PAGESIZE), bytes = table->n_words * sizeof(*table->words);

	return (bytes + page - 1) / page * page;
}

static int copy(int fd, const struct sl_table *table)
{
	void *at = mmap(NULL, mapped_size(table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -errno;
	memcpy(at, table->words, table->n_words * sizeof(*table->words));
	return munmap(at, mapped_size(table)) ? -errno : 0;
}

/* What the kernel holds is what was compiled, seen through a second mapping. */
static int compare(int fd, const struct sl_table *table)
{
	void *at = mmap(NULL, mapped_size(table), PROT_READ, MAP_SHARED, fd, 0);
	int different;

	if (at == MAP_FAILED)
		return -errno;
	different = memcmp(at, table->words, table->n_words * sizeof(*table->words));
	munmap(at, mapped_size(table));
	return different ? -EIO : 0;
}

int sl_kernel_table_map(const struct sl_table *table, struct sl_diag *diag)
{
	LIBBPF_OPTS(bpf_map_create_opts, options,
		    .map_flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	int fd, err;

	if (!table->n_words || table->n_words % SL_PAGE_WORDS)
		return sl_error(diag, NULL, "the table's size (%zu words) is not one of ours",
				table->n_words);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_generation", sizeof(__u32),
			    SL_PAGE_WORDS * sizeof(__u64), table->n_words / SL_PAGE_WORDS,
			    &options);
	if (fd < 0) {
		err = -errno;
		sl_error(diag, NULL, "the kernel has no map for a table of %zu KiB: %s",
			 table->n_words / 128, strerror(-err));
		return err;
	}
	err = copy(fd, table);
	if (!err)
		err = compare(fd, table);
	if (!err && bpf_map_freeze(fd))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	sl_error(diag, NULL, "the table could not be put into the kernel: %s",
		 err == -EIO ? "what was read back is not what was written" : strerror(-err));
	return err;
}
