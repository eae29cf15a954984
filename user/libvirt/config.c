// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/text.h"
#include "policy/yaml.h"
#include "resolve/resolve.h"

#define CONFIG_BYTES_MAX (64u << 10)

enum { KEY_FAIL, KEY_ADDRESSES, KEY_METADATA, KEY_UNCOVERED, KEY_POLICIES, KEY_N };

static const char *const keys[] = {
	[KEY_FAIL] = "fail",
	[KEY_ADDRESSES] = "addresses",
	[KEY_METADATA] = "metadata",
	[KEY_UNCOVERED] = "uncovered",
	[KEY_POLICIES] = "policies",
	[KEY_N] = NULL,
};

/* In the order of what they stand for. */
static const char *const fail_words[] = {"isolate", "refuse", "open", NULL};
static const char *const address_words[] = {"dhcp", "any", NULL};
static const char *const metadata_words[] = {"use", "ignore", NULL};
static const char *const uncovered_words[] = {"refuse", "warn", NULL};

struct reader {
	struct sl_yaml yaml;
	struct sl_diag *diag;
	struct sl_libvirt_config *config;
	unsigned lines[KEY_N];	/* where each key stands; 0: nowhere */
	bool failed;
};

static int find_word(const struct sl_yaml *yaml, const char *const *words)
{
	if (yaml->type != SL_YAML_SCALAR)
		return -1;
	for (int i = 0; words[i]; i++)
		if (sl_text_is(yaml->scalar, yaml->scalar_len, words[i]))
			return i;
	return -1;
}

static void wrong_value(struct reader *r, int key, const char *want)
{
	char found[128];

	r->failed = true;
	sl_error(r->diag, &r->yaml.pos, "%s: %s is wanted: found %s", keys[key], want,
		 sl_yaml_describe(&r->yaml, found, sizeof(found)));
	sl_yaml_skip(&r->yaml);
}

static int read_word(struct reader *r, int key, const char *const *words, const char *want)
{
	int index = find_word(&r->yaml, words);

	if (index < 0)
		wrong_value(r, key, want);
	return index < 0 ? 0 : index;
}

static void read_folder(struct reader *r)
{
	struct sl_yaml *yaml = &r->yaml;

	if (yaml->type != SL_YAML_SCALAR || !yaml->scalar_len || yaml->scalar[0] != '/') {
		wrong_value(r, KEY_POLICIES, "the absolute path of a folder");
		return;
	}
	free(r->config->policies);
	r->config->policies = strndup(yaml->scalar, yaml->scalar_len);
	if (!r->config->policies)
		sl_yaml_stop(yaml, -ENOMEM);
}

static void read_value(struct reader *r, int key)
{
	switch (key) {
	case KEY_FAIL:
		r->config->fail = (enum sl_fail_mode)read_word(r, key, fail_words,
							       "isolate, refuse or open");
		break;
	case KEY_ADDRESSES:
		r->config->any_address = read_word(r, key, address_words, "dhcp or any");
		break;
	case KEY_METADATA:
		r->config->no_metadata = read_word(r, key, metadata_words, "use or ignore");
		break;
	case KEY_UNCOVERED:
		r->config->uncovered_ok = read_word(r, key, uncovered_words, "refuse or warn");
		break;
	case KEY_POLICIES:
		read_folder(r);
		break;
	}
}

/* The key that is the current event: its index, or -1 with an error. */
static int read_key(struct reader *r)
{
	struct sl_yaml *yaml = &r->yaml;
	const char *nearest = NULL;
	int key = find_word(yaml, keys);

	if (key >= 0 && !r->lines[key]) {
		r->lines[key] = yaml->pos.line;
		return key;
	}
	r->failed = true;
	if (key >= 0) {
		sl_error(r->diag, &yaml->pos, "%s stands twice: the first is in line %u", keys[key],
			 r->lines[key]);
		return -1;
	}
	if (yaml->type == SL_YAML_SCALAR)
		nearest = sl_nearest(yaml->scalar, yaml->scalar_len, keys);
	if (yaml->type == SL_YAML_SCALAR)
		sl_error(r->diag, &yaml->pos, "unknown key \"%.*s\"%s%s%s",
			 SL_Q(yaml->scalar, yaml->scalar_len), nearest ? "; did you mean \"" : "",
			 nearest ? nearest : "", nearest ? "\"?" : "");
	else
		sl_error(r->diag, &yaml->pos, "a key is a word, not a list or mapping");
	sl_yaml_skip(yaml);
	return -1;
}

static void read_map(struct reader *r)
{
	struct sl_yaml *yaml = &r->yaml;
	char found[128];
	int key;

	sl_yaml_next(yaml);
	if (yaml->type == SL_YAML_END || sl_yaml_is_null(yaml))
		return;		/* nothing but comments */
	if (yaml->type != SL_YAML_MAP) {
		r->failed = true;
		sl_error(r->diag, &yaml->pos, "a mapping (fail: isolate) is wanted: found %s",
			 sl_yaml_describe(yaml, found, sizeof(found)));
		return;
	}
	for (sl_yaml_next(yaml); yaml->type != SL_YAML_MAP_END && yaml->type != SL_YAML_END;
	     sl_yaml_next(yaml)) {
		key = read_key(r);
		sl_yaml_next(yaml);
		if (key < 0)
			sl_yaml_skip(yaml);
		else
			read_value(r, key);
	}
	while (yaml->type != SL_YAML_END)
		sl_yaml_next(yaml);	/* what stands behind the document is an error */
}

static int start(struct sl_libvirt_config *config)
{
	*config = (struct sl_libvirt_config){.policies = strdup(SL_LIBVIRT_POLICIES)};
	return config->policies ? 0 : -ENOMEM;
}

int sl_libvirt_config_parse(const char *text, size_t len, const char *file,
			    struct sl_libvirt_config *out, struct sl_diag *diag)
{
	struct sl_libvirt_config config;
	struct reader r = {.diag = diag, .config = &config};
	int err = start(&config);

	if (err)
		return err;
	sl_yaml_open(&r.yaml, text, len, file, diag);
	read_map(&r);
	err = r.yaml.error ? r.yaml.error : r.failed ? -EINVAL : 0;
	sl_yaml_close(&r.yaml);
	if (err)
		sl_libvirt_config_free(&config);
	else
		*out = config;
	return err;
}

int sl_libvirt_config_read(const char *path, bool required, struct sl_libvirt_config *out,
			   struct sl_diag *diag)
{
	char *text;
	size_t len;
	int err;

	/* only "not there" is nothing; what cannot be looked at may say anything */
	if (!required && access(path, F_OK) && errno == ENOENT)
		return start(out);
	err = sl_file_read(path, CONFIG_BYTES_MAX, NULL, &text, &len, diag);
	if (err)
		return err;
	err = sl_libvirt_config_parse(text, len, path, out, diag);
	free(text);
	return err;
}

void sl_libvirt_config_free(struct sl_libvirt_config *config)
{
	free(config->policies);
	*config = (struct sl_libvirt_config){};
}
