// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "compile/compile.h"
#include "expedite.h"
#include "outer.h"
#include "sluice_abi.h"
#include "state.h"

static void *change_one(void *context)
{
	struct sl_outer_change *c = context;
	int err;

	if (c->fd >= 0)
		err = bpf_map_update_elem(c->outer_fd, &c->index, &c->fd, 0);
	else
		err = bpf_map_delete_elem(c->outer_fd, &c->index);
	c->err = err ? -errno : 0;
	if (c->fd < 0 && c->err == -ENOENT)
		c->err = 0;
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

void sl_outer_begin(struct sl_outer_change *changes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		changes[i].done = 0;
		changes[i].begun = !pthread_create(&changes[i].thread, NULL, change_one,
						   &changes[i]);
		if (!changes[i].begun)
			change_one(&changes[i]);
	}
}

static __u32 map_id(int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/* Until 6.8 looking waits for a grace period too; the change is then done as well. */
static int shown(const struct sl_outer_change *c)
{
	__u32 wanted = map_id(c->fd), id;

	while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
		if (wanted && !bpf_map_lookup_elem(c->outer_fd, &c->index, &id) && id == wanted)
			return 0;
		sched_yield();
	}
	return c->err;
}

int sl_outer_shown(const struct sl_outer_change *changes, size_t n)
{
	int err = 0;
	size_t i;

	for (i = 0; i < n && !err; i++)
		err = shown(&changes[i]);
	return err;
}

int sl_outer_wait(struct sl_outer_change *changes, size_t n)
{
	int err = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (changes[i].begun)
			pthread_join(changes[i].thread, NULL);
		changes[i].begun = false;
		if (!err)
			err = changes[i].err;
	}
	return err;
}

int sl_outer_change(struct sl_outer_change *changes, size_t n)
{
	int err;

	sl_expedite_begin();
	sl_outer_begin(changes, n);
	err = sl_outer_wait(changes, n);
	sl_expedite_end();
	return err;
}

static __u32 power_of_two(__u32 n)
{
	__u32 p = 1;

	while (p < n && p < 1u << 30)
		p *= 2;
	return p;
}

int sl_flow_map(__u32 flows, __u32 *buckets)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_INNER_MAP);
	__u32 n = power_of_two(flows / SL_FLOW_WAYS);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_flow_state", sizeof(__u32),
				sizeof(struct sl_flow_bucket), n, &options);

	if (fd < 0)
		return -errno;
	*buckets = n;
	return fd;
}

int sl_known_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_known_names", sizeof(__u32),
				sizeof(struct sl_name), SL_KNOWN_NAMES, NULL);

	return fd < 0 ? -errno : fd;
}

int sl_learned_map(void)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sl_learned_of", sizeof(__u32),
				sizeof(struct sl_learned_bucket), SL_LEARNED_BUCKETS, NULL);

	return fd < 0 ? -errno : fd;
}

int sl_pattern_trie(const struct sl_table *table)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "sl_patterns",
				sizeof(struct sl_pattern_key), sizeof(struct sl_pattern_value),
				table->n_patterns ? table->n_patterns : 1, &options);
	struct sl_pattern_value value = {};
	size_t i;
	int err;

	if (fd < 0)
		return -errno;
	for (i = 0; i < table->n_patterns; i++) {
		value.class = table->patterns[i].class;
		if (bpf_map_update_elem(fd, &table->patterns[i].key, &value, 0)) {
			err = -errno;
			close(fd);
			return err;
		}
	}
	return fd;
}

__u64 sl_table_switch_word(const struct sl_table *table, __u32 index)
{
	const __u64 shaped = SL_F_LIMIT_OUT | SL_F_LIMIT_IN;

	return table->words[SL_H_GENERATION] << SL_WORD_INDEX_BITS |
	       (table->words[SL_H_FLAGS] & shaped ? SL_WORD_SHAPED : 0) | index;
}

__u64 sl_netns_cookie(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(__u64);
	__u64 cookie = 0;

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		cookie = 0;
	close(fd);
	return cookie;
}

struct elsewhere {
	int netns_fd;
	__u64 cookie;
};

/* setns(2) moves this thread only, and it ends here. */
static void *ask_there(void *context)
{
	struct elsewhere *e = context;

	e->cookie = setns(e->netns_fd, CLONE_NEWNET) ? 0 : sl_netns_cookie();
	return NULL;
}

__u64 sl_netns_cookie_of(int netns_fd)
{
	struct elsewhere e = {.netns_fd = netns_fd};
	pthread_t thread;

	if (pthread_create(&thread, NULL, ask_there, &e))
		return 0;
	pthread_join(thread, NULL);
	return e.cookie;
}
