// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a lookout says, as bytes: counts, then what they count. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lookout.h"

enum { GATEWAY, SUBNET, HOST, RESOLVERS, SEARCH, N_COUNTS };

struct head {
	__u64 netns, conf, host_root;
	__u64 counts[N_COUNTS];
};

static int finish(FILE *out)
{
	int err = ferror(out) ? -ENOMEM : 0;

	return fclose(out) ? -ENOMEM : err;
}

int sl_sight_of_environment(const struct sl_environment *env, __u64 netns, struct sl_sight *out)
{
	const struct head head = {.netns = netns,
				  .conf = env->conf,
				  .host_root = env->host_root,
				  .counts = {[GATEWAY] = env->n_gateway, [SUBNET] = env->n_subnet,
					     [HOST] = env->n_host, [RESOLVERS] = env->n_resolvers,
					     [SEARCH] = env->n_search}};
	FILE *to = open_memstream(&out->bytes, &out->len);

	if (!to)
		return -ENOMEM;
	fwrite(&head, sizeof(head), 1, to);
	fwrite(env->gateway, sizeof(*env->gateway), env->n_gateway, to);
	fwrite(env->subnet, sizeof(*env->subnet), env->n_subnet, to);
	fwrite(env->host, sizeof(*env->host), env->n_host, to);
	fwrite(env->resolvers, sizeof(*env->resolvers), env->n_resolvers, to);
	for (size_t i = 0; i < env->n_search; i++)
		fwrite(env->search[i], 1, strlen(env->search[i]) + 1, to);
	return finish(to);
}

int sl_sight_of_uids(const struct sl_uid_map *map, struct sl_sight *out)
{
	const __u64 head[] = {map->state, map->n};
	FILE *to = open_memstream(&out->bytes, &out->len);

	if (!to)
		return -ENOMEM;
	fwrite(head, sizeof(head), 1, to);
	fwrite(map->ranges, sizeof(*map->ranges), map->n, to);
	return finish(to);
}

/* ---- and back ---- */

/* n elements from *at on, copied; *to is owned by the caller. */
static int take(const struct sl_sight *sight, size_t *at, __u64 n, size_t size, void *to)
{
	void *copy;

	if (n > (sight->len - *at) / size)
		return -EBADMSG;
	if (!n)
		return 0;
	copy = reallocarray(NULL, n, size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, sight->bytes + *at, n * size);
	*at += n * size;
	*(void **)to = copy;
	return 0;
}

static int take_cidrs(const struct sl_sight *sight, size_t *at, __u64 count, struct sl_cidr **to,
		      size_t *n)
{
	int err = take(sight, at, count, sizeof(**to), to);

	if (!err)
		*n = count;
	return err;
}

static int take_search(const struct sl_sight *sight, size_t *at, __u64 count,
		       struct sl_environment *env)
{
	const char *end;

	if (count > sight->len - *at)
		return -EBADMSG;
	env->search = calloc(count + 1, sizeof(*env->search));
	if (!env->search)
		return -ENOMEM;
	for (; env->n_search < count; env->n_search++) {
		end = memchr(sight->bytes + *at, 0, sight->len - *at);
		if (!end)
			return -EBADMSG;
		env->search[env->n_search] = strdup(sight->bytes + *at);
		if (!env->search[env->n_search])
			return -ENOMEM;
		*at = (size_t)(end + 1 - sight->bytes);
	}
	return 0;
}

int sl_sight_environment(const struct sl_sight *sight, struct sl_environment *env, __u64 *netns)
{
	struct head head;
	size_t at = sizeof(head);
	int err;

	if (sight->len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, sight->bytes, sizeof(head));
	if (head.conf > SL_CONF_OWN)
		return -EBADMSG;
	err = take_cidrs(sight, &at, head.counts[GATEWAY], &env->gateway, &env->n_gateway);
	if (!err)
		err = take_cidrs(sight, &at, head.counts[SUBNET], &env->subnet, &env->n_subnet);
	if (!err)
		err = take_cidrs(sight, &at, head.counts[HOST], &env->host, &env->n_host);
	if (!err)
		err = take_cidrs(sight, &at, head.counts[RESOLVERS], &env->resolvers,
				 &env->n_resolvers);
	if (!err)
		err = take_search(sight, &at, head.counts[SEARCH], env);
	if (!err && at != sight->len)
		err = -EBADMSG;
	if (err) {
		sl_environment_free(env);
		return err;
	}
	env->conf = (enum sl_conf)head.conf;
	env->host_root = head.host_root;
	*netns = head.netns;
	return err;
}

int sl_sight_uids(const struct sl_sight *sight, struct sl_uid_map *map)
{
	__u64 head[2]; /* the state, how many ranges */
	size_t at = sizeof(head);
	int err;

	if (sight->len < sizeof(head))
		return -EBADMSG;
	memcpy(head, sight->bytes, sizeof(head));
	if (head[0] >= SL_UID_MAP_STATES)
		return -EBADMSG;
	err = take(sight, &at, head[1], sizeof(*map->ranges), &map->ranges);
	if (!err && at != sight->len)
		err = -EBADMSG;
	if (!err) {
		map->n = head[1];
		map->state = (enum sl_uid_map_state)head[0];
	}
	return err;
}
