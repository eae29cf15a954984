// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "losses.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/json.h"

char *sl_losses_path(const char *socket)
{
	const char *slash = strrchr(socket, '/');
	char *path;

	return asprintf(&path, "%.*s/losses", slash ? (int)(slash - socket) : 1,
			slash ? socket : ".") < 0 ? NULL : path;
}

json_t *sl_losses_read(const char *path)
{
	json_error_t error = {.text = "not what sluiced writes there"};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	json_t *memory;

	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0)
		snprintf(error.text, sizeof(error.text), "%s", strerror(errno));
	memory = fd < 0 ? NULL : json_loadfd(fd, 0, &error);
	if (fd >= 0)
		close(fd);
	if (!json_is_array(memory)) {
		json_decref(memory);
		memory = NULL;
		fprintf(stderr, "sluiced: %s: %s; what was lost before is told again\n", path,
			error.text);
	}
	return memory;
}

static __u64 number_of(const json_t *one, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(one, key));

	return n > 0 ? (__u64)n : 0;
}

struct sl_losses sl_losses_recall(const json_t *memory, __u32 slot, __u64 since_ns)
{
	const json_t *one;
	size_t i;

	json_array_foreach(memory, i, one)
		if (number_of(one, "slot") == slot && number_of(one, "since") == since_ns)
			return (struct sl_losses){number_of(one, "ring"), number_of(one, "closes"),
						  number_of(one, "budget")};
	return (struct sl_losses){};
}

void sl_losses_add(json_t *memory, __u32 slot, __u64 since_ns, const struct sl_losses *told)
{
	json_array_append_new(memory,
			      json_pack("{s:i, s:o, s:o, s:o, s:o}", "slot", (int)slot, "since",
					sl_json_number(since_ns), "ring",
					sl_json_number(told->ring), "closes",
					sl_json_number(told->closes), "budget",
					sl_json_number(told->budget)));
}

void sl_losses_write(const char *path, const json_t *memory)
{
	char *next = NULL;
	int err = memory && asprintf(&next, "%s.next", path) > 0 ? 0 : -ENOMEM, fd;

	if (!err) {
		fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		err = fd < 0 ? -errno : json_dumpfd(memory, fd, JSON_COMPACT) ? -EIO : 0;
		if (fd >= 0 && close(fd) && !err)
			err = -errno;
	}
	if (!err && rename(next, path))
		err = -errno;
	if (err)
		fprintf(stderr, "sluiced: %s: %s; a restart tells again what was lost before\n",
			path, strerror(-err));
	free(next);
}
