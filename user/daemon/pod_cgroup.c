// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "pod_cgroup.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const sl_pods_places[SL_PODS_PLACES] = {
	"/kubepods",
	"/kubepods.slice",
	"/kubelet/kubepods",
	"/kubelet.slice/kubelet-kubepods.slice",
};

static const char slice[] = ".slice";

/* The length of a part of a path without what systemd adds. */
static size_t stem_len(const char *part, size_t len)
{
	size_t n = sizeof(slice) - 1;

	return len > n && !strncmp(part + len - n, slice, n) ? len - n : len;
}

/* What follows a place in a path; NULL: it is not below it. */
static const char *below(const char *path, const char *place)
{
	size_t n = strlen(place);

	return !strncmp(path, place, n) && path[n] == '/' ? path + n + 1 : NULL;
}

/* Does a part begin as systemd's parts below the place do: with its last part's stem and a
 * dash? How long that is; 0: with cgroupfs nothing does. */
static size_t prefix_len(const char *part, const char *place)
{
	const char *last = strrchr(place, '/') + 1;
	size_t len = strlen(last), n = stem_len(last, len);

	return n < len && !strncmp(part, last, n) && part[n] == '-' ? n + 1 : 0;
}

bool sl_pods_place_is_slice(const char *place)
{
	size_t len = strlen(place);

	return stem_len(place, len) != len;
}

/* besteffort, burstable: what follows of a part; NULL: it is none. */
static const char *after_class(const char *text)
{
	static const char *const classes[] = {"besteffort", "burstable"};

	for (size_t i = 0; i < 2; i++)
		if (!strncmp(text, classes[i], strlen(classes[i])))
			return text + strlen(classes[i]);
	return NULL;
}

/* The part is the cgroup of a class of pods. */
static bool is_class(const char *part, size_t len, const char *place)
{
	size_t n = prefix_len(part, place), stem = stem_len(part, len);
	const char *end;

	if (sl_pods_place_is_slice(place) && (!n || stem == len))
		return false;
	end = after_class(part + n);
	return end && end == part + (sl_pods_place_is_slice(place) ? stem : len);
}

static bool copy_uid(const char *text, size_t len, bool systemd, char *uid)
{
	if (!len || len > SL_POD_UID_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.", c))
			return false;
		uid[i] = systemd && c == '_' ? '-' : c;
	}
	uid[len] = 0;
	return true;
}

static bool read_pod(const char *part, size_t len, const char *place, bool in_class, char *uid)
{
	bool systemd = sl_pods_place_is_slice(place);
	size_t n = prefix_len(part, place), stem = stem_len(part, len);
	const char *at = part + n;

	if (systemd && (!n || stem == len))
		return false;
	if (systemd && in_class) {
		at = after_class(at);
		if (!at || *at++ != '-')
			return false;
	}
	if (strncmp(at, "pod", 3) || at + 3 > part + (systemd ? stem : len))
		return false;
	at += 3;
	return copy_uid(at, (size_t)(part + (systemd ? stem : len) - at), systemd, uid);
}

/* *end: what follows the pod's part. */
static bool find(const char *path, const char *place, char *uid, const char **end)
{
	const char *part = below(path, place);
	bool in_class = false;
	size_t len;

	if (!part)
		return false;
	len = strcspn(part, "/");
	if (part[len] && is_class(part, len, place)) {
		in_class = true;
		part += len + 1;
		len = strcspn(part, "/");
	}
	*end = part + len;
	return read_pod(part, len, place, in_class, uid);
}

bool sl_pod_cgroup(const char *path, const char *const *places, size_t n,
		   char uid[SL_POD_UID_MAX + 1])
{
	const char *end;

	for (size_t i = 0; i < n; i++)
		if (find(path, places[i], uid, &end))
			return !*end;
	return false;
}

bool sl_pod_cgroup_within(const char *path, const char *const *places, size_t n,
			  char uid[SL_POD_UID_MAX + 1])
{
	const char *end;

	for (size_t i = 0; i < n; i++)
		if (find(path, places[i], uid, &end))
			return true;
	return false;
}

bool sl_pod_cgroup_leads(const char *path, const char *const *places, size_t n)
{
	char uid[SL_POD_UID_MAX + 1];
	size_t len = strlen(path);
	const char *end;

	for (size_t i = 0; i < n; i++) {
		const char *rest = below(path, places[i]);

		if (!strcmp(path, places[i]) ||
		    (!strncmp(path, places[i], len) && places[i][len] == '/'))
			return true;
		if (rest && !strchr(rest, '/') && is_class(rest, strlen(rest), places[i]))
			return true;
		if (find(path, places[i], uid, &end) && !*end)
			return true;
	}
	return false;
}

/* podUID or kubepods-CLASS-podUID.slice, in what a kubelet calls kubepods. */
static bool is_of_pod(int dir_fd)
{
	char link[32], path[PATH_MAX];
	const char *last;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir_fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = 0;
	last = strrchr(path, '/');
	return last && strstr(path, "kubepods") &&
	       (!strncmp(last, "/pod", 4) || strstr(last, "-pod"));
}

bool sl_pod_is_monitor(int dir_fd, const char *name)
{
	static const char head[] = "crio-conmon-";

	return !strncmp(name, head, sizeof(head) - 1) && is_of_pod(dir_fd);
}
