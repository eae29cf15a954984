// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

bool sl_guest_has_file(const char *guest)
{
	if (!*guest || *guest == '.')
		return false;
	for (const char *c = guest; *c; c++)
		if (*c == '/' || (unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	return true;
}

/* Not stat(2): a link that leads nowhere is there. */
static bool is_there(const char *path)
{
	struct stat st;

	return !lstat(path, &st) || (errno != ENOENT && errno != ENAMETOOLONG);
}

static int take(const char *folder, const char *name, char **path)
{
	return asprintf(path, "%s/%s.yaml", folder, name) < 0 ? -ENOMEM : 0;
}

/* 1 with *path if the file is there, 0 if not, or -ENOMEM. */
static int try_file(const char *folder, const char *name, char **path)
{
	char *tried;

	if (take(folder, name, &tried))
		return -ENOMEM;
	if (!is_there(tried)) {
		free(tried);
		return 0;
	}
	*path = tried;
	return 1;
}

static int choose_wanted(const struct sl_policy_places *places, const char *wanted, char **path,
			 struct sl_diag *diag)
{
	int found = try_file(places->folder, wanted, path);

	if (!found)
		found = try_file(places->shipped, wanted, path);
	if (!found)
		return sl_error(diag, NULL, "the domain's metadata asks for the policy %s: there is "
				"neither %s/%s.yaml nor %s/%s.yaml", wanted, places->folder, wanted,
				places->shipped, wanted);
	return found < 0 ? found : 0;
}

/* Who may make files here chooses for every guest. */
static int check_folder(const char *folder, struct sl_diag *diag)
{
	struct stat st;

	if (!stat(folder, &st) && st.st_mode & S_IWOTH)
		return sl_error(diag, NULL, "%s may be written by anyone (mode %04o): chmod o-w %s",
				folder, st.st_mode & 07777, folder);
	return 0;
}

int sl_policy_choose(const struct sl_policy_places *places, const char *guest, const char *wanted,
		     char **path, struct sl_diag *diag)
{
	int found = check_folder(places->folder, diag);

	if (found)
		return found;
	if (wanted)
		return choose_wanted(places, wanted, path, diag);
	if (sl_guest_has_file(guest))
		found = try_file(places->folder, guest, path);
	if (!found)
		found = try_file(places->folder, "default", path);
	if (!found)
		return take(places->shipped, "vm-isolated", path);
	return found < 0 ? found : 0;
}
