/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* News of /etc/resolv.conf, which `resolvers: system` and @resolvers come from. */
#ifndef SLUICE_DAEMON_RESOLV_CONF_H
#define SLUICE_DAEMON_RESOLV_CONF_H

#include <limits.h>
#include <stdbool.h>

/* By its directory, and that of the file behind it: it is replaced by renaming, and where it
 * is a symbolic link (systemd-resolved, resolvconf) what it leads to is. */
struct sl_resolv_conf {
	int fd; /* inotify, non-blocking; poll(2) it; -1: none */
	struct {
		int wd;
		char name[NAME_MAX + 1];
	} files[2];
	int n_files;
};

/* 0 or -errno. sl_resolv_conf_close(file) in either case. */
int sl_resolv_conf_open(struct sl_resolv_conf *file);

/* Reads the news. True: it may be another one now. */
bool sl_resolv_conf_changed(struct sl_resolv_conf *file);

void sl_resolv_conf_close(struct sl_resolv_conf *file);

#endif
