// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The other end of a veth: found, in whichever namespace it is, and guarded there. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complaint.h"
#include "peer.skel.h"
#include "state_internal.h"
#include "tc.h"

#define PROGRAM "sluice_peer"
#define SEEN_MAX 512	/* namespaces; one beyond is asked for again */

/* Where it is: the index there, and the caller's number of the namespace, -1: its own. */
struct place {
	__u32 ifindex;
	__s32 nsid;
};

/* ---- where it is ---- */

static int on_attribute(const struct nlattr *attribute, void *context)
{
	struct place *place = context;

	if (mnl_attr_get_payload_len(attribute) < sizeof(__u32))
		return MNL_CB_OK;
	if (mnl_attr_get_type(attribute) == IFLA_LINK)
		place->ifindex = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_LINK_NETNSID)
		place->nsid = (__s32)mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *message, void *context)
{
	mnl_attr_parse(message, sizeof(struct ifinfomsg), on_attribute, context);
	return MNL_CB_STOP;
}

static struct place place_of(unsigned ifindex)
{
	struct place place = {.nsid = -1};

	sl_link_ask(ifindex, on_link, &place);
	return place;
}

static int on_nsid(const struct nlattr *attribute, void *context)
{
	if (mnl_attr_get_type(attribute) == NETNSA_NSID &&
	    mnl_attr_get_payload_len(attribute) >= sizeof(__s32))
		*(__s32 *)context = (__s32)mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static int on_nsid_message(const struct nlmsghdr *message, void *context)
{
	mnl_attr_parse(message, sizeof(struct rtgenmsg), on_nsid, context);
	return MNL_CB_STOP;
}

/* The number that our namespace has for another; -1: none. */
static __s32 nsid_of(struct mnl_socket *nl, int netns_fd)
{
	char buf[512];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
	__s32 nsid = -1;
	ssize_t n;

	message->nlmsg_type = RTM_GETNSID;
	message->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(message, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(message, NETNSA_FD, (__u32)netns_fd);
	if (mnl_socket_sendto(nl, message, message->nlmsg_len) <= 0)
		return -1;
	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n > 0)
		mnl_cb_run(buf, n, 0, 0, on_nsid_message, &nsid);
	return nsid;
}

/* ---- the namespace ---- */

struct search {
	struct mnl_socket *nl;
	__s32 nsid;
	ino_t seen[SEEN_MAX];
	size_t n_seen;
};

static bool is_seen(struct search *s, int fd)
{
	struct stat st;
	size_t i;

	if (fstat(fd, &st))
		return true;
	for (i = 0; i < s->n_seen; i++)
		if (s->seen[i] == st.st_ino)
			return true;
	if (s->n_seen < SEEN_MAX)
		s->seen[s->n_seen++] = st.st_ino;
	return false;
}

/* Among `FOLDER/x``BEHIND`: the namespace's descriptor, or -1. */
static int find_among(struct search *s, const char *folder, const char *behind)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[300];
	int fd = -1;

	while (dir && fd < 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (*behind && (entry->d_name[0] < '1' ||
							    entry->d_name[0] > '9')))
			continue;
		snprintf(path, sizeof(path), "%s%s", entry->d_name, behind);
		fd = openat(dirfd(dir), path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && (is_seen(s, fd) || nsid_of(s->nl, fd) != s->nsid)) {
			close(fd);
			fd = -1;
		}
	}
	if (dir)
		closedir(dir);
	return fd;
}

/* A number is no way into a namespace: some process is in it, or it has a name. */
static int open_netns(__s32 nsid)
{
	struct search *s = calloc(1, sizeof(*s));
	int fd = -1;

	if (s) {
		s->nsid = nsid;
		s->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	}
	if (s && s->nl)
		fd = find_among(s, "/run/netns", "");
	if (s && s->nl && fd < 0)
		fd = find_among(s, "/proc", "/ns/net");
	if (s && s->nl)
		mnl_socket_close(s->nl);
	free(s);
	return fd < 0 ? -ENXIO : fd;
}

/* ---- the program ---- */

static int share_maps(const struct sl_state *s, struct peer *skel)
{
	enum sl_state_map m;
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj) {
		if (bpf_map__is_internal(map))
			continue;
		for (m = SL_M_INFO + 1; m < SL_M_MAX; m++)
			if (!strcmp(bpf_map__name(map), sl_state_map_names[m]))
				break;
		/* what headers that cgroup programs share define, none of ours uses */
		err = m < SL_M_MAX ? bpf_map__reuse_fd(map, s->maps[m]) :
				     bpf_map__set_autocreate(map, false);
		if (err)
			break;
	}
	return err;
}

static int load_program(struct sl_state *s, const char *pin)
{
	struct peer *skel = peer__open();
	int err;

	if (!skel)
		return -errno;
	skel->rodata->sl_seed = s->info.seed;
	skel->rodata->sl_netns = s->netns;
	err = share_maps(s, skel);
	if (!err)
		err = peer__load(skel);
	if (!err && bpf_obj_pin(bpf_program__fd(skel->progs.sluice_peer), pin))
		err = -errno;
	if (!err)
		s->peer = fcntl(bpf_program__fd(skel->progs.sluice_peer), F_DUPFD_CLOEXEC, 3);
	peer__destroy(skel);
	return err ? err : s->peer < 0 ? -errno : 0;
}

/* One for all veths of the namespace, made when the first of them comes. */
static int open_program(struct sl_state *s)
{
	struct sl_diag diag = {};
	char *pin;
	int fd, err = 0;

	if (s->peer >= 0)
		return 0;
	pin = sl_state_pin(s, true, PROGRAM);
	if (!pin)
		return -ENOMEM;
	fd = sl_state_get_program(s, pin, PROGRAM, BPF_PROG_TYPE_SCHED_CLS, &diag);
	if (fd >= 0)
		s->peer = fd;
	else
		err = fd == -ENOENT ? load_program(s, pin) : fd;
	sl_diag_free(&diag);
	free(pin);
	return err;
}

/* ---- the link ---- */

struct linking {
	int program, netns_fd;	/* -1: here */
	__u32 ifindex;
	int fd;
};

/* setns(2) moves this thread only, and it ends here. */
static void *link_there(void *context)
{
	struct linking *l = context;

	if (l->netns_fd >= 0 && setns(l->netns_fd, CLONE_NEWNET))
		l->fd = -errno;
	else	/* egress of the device */
		l->fd = sl_tcx_link(l->program, l->ifindex, SL_INGRESS);
	return NULL;
}

static int make_link(const struct sl_state *s, const struct place *place)
{
	struct linking l = {.program = s->peer, .netns_fd = -1, .ifindex = place->ifindex};
	pthread_t thread;
	int err;

	if (place->nsid >= 0) {
		l.netns_fd = open_netns(place->nsid);
		if (l.netns_fd < 0)
			return l.netns_fd;
	}
	err = -pthread_create(&thread, NULL, link_there, &l);
	if (!err)
		pthread_join(thread, NULL);
	if (l.netns_fd >= 0)
		close(l.netns_fd);
	return err ? err : l.fd;
}

/* It could have been moved while we linked: then the link is another device's. */
static int guard(const struct sl_state *s, const struct sl_target *t, const char *pin)
{
	struct place place = place_of(t->ifindex), now;
	int fd, err = 0;

	if (!place.ifindex)
		return -ENODEV;
	fd = make_link(s, &place);
	if (fd < 0)
		return fd;
	now = place_of(t->ifindex);
	if (now.ifindex != place.ifindex || now.nsid != place.nsid)
		err = -EAGAIN;
	if (!err) {
		unlink(pin);	/* of a device that had this index and is gone */
		err = bpf_obj_pin(fd, pin) ? -errno : 0;
	}
	if (err)
		sl_state_detach_link(fd);
	close(fd);
	return err;
}

/* The link is where the other end is now: a device that moves takes it along. */
static bool is_guarded(const struct sl_target *t, const char *pin)
{
	int ifindex = sl_tcx_ifindex(pin);

	return ifindex > 0 && (__u32)ifindex == place_of(t->ifindex).ifindex;
}

int sl_state_guard_peer(struct sl_state *s, const struct sl_target *t)
{
	char *pin;
	int err;

	if (!s->path || !sl_device_is_veth(t->name))
		return 0;
	if (!(t->flags & SL_TARGET_TCX))
		return -EOPNOTSUPP;	/* what a container's root could take off guards nothing */
	pin = sl_state_peer_pin(s, t);
	if (!pin)
		return -ENOMEM;
	err = is_guarded(t, pin) ? 0 : open_program(s);
	if (!err && !is_guarded(t, pin))
		err = guard(s, t, pin);
	free(pin);
	return err;
}

void sl_state_drop_peer(const struct sl_state *s, const struct sl_target *t)
{
	char *pin = s->path ? sl_state_peer_pin(s, t) : NULL;

	if (pin)
		sl_state_drop_link(pin);
	free(pin);
}

enum sl_peer sl_state_peer(const struct sl_state *s, const struct sl_target *t)
{
	enum sl_peer peer;
	char *pin;

	if (t->kind != SL_TARGET_DEVICE || t->netns != s->netns || !s->path ||
	    !sl_device_is_veth(t->name))
		return SL_PEER_UNKNOWN;
	pin = sl_state_peer_pin(s, t);
	peer = pin && is_guarded(t, pin) ? SL_PEER_GUARDED : SL_PEER_OPEN;
	free(pin);
	return peer;
}

enum sl_peer sl_state_device_peer(const struct sl_state *s, const struct sl_device *device)
{
	struct sl_target t;
	__u32 slot;

	return sl_state_find_device(s, device->ifindex, &slot, &t) ? sl_state_peer(s, &t) :
								     SL_PEER_UNKNOWN;
}
