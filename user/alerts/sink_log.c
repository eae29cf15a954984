// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A JSON line for each alert. The file is opened each time: alerts are rare, and a file that
 * was rotated away is found by nobody telling. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alert_text.h"
#include "sink_internal.h"

static int write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t done = write(fd, text, n);

		if (done < 0 && errno != EINTR)
			return -errno;
		text += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
	return 0;
}

static int append(const struct sl_sink *sink, json_t *json)
{
	bool to_stdout = !strcmp(sink->config->file, "-");
	char *text = sl_json_ascii(json), *line = NULL;
	int fd, err = 0;

	if (!text || asprintf(&line, "%s\n", text) < 0) {
		free(text);
		return -ENOMEM;
	}
	fd = to_stdout ? STDOUT_FILENO : open(sink->config->file, O_WRONLY | O_APPEND | O_CREAT |
					      O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	/* one write: lines of several writers do not mix */
	err = fd < 0 ? -errno : write_all(fd, line, strlen(line));
	if (fd >= 0 && !to_stdout)
		close(fd);
	free(text);
	free(line);
	return err;
}

void sl_log_run(struct sl_sink *sink, __s64 now_ms)
{
	while (sink->n) {
		int err = append(sink, sink->queue[0].json);

		if (err)
			sl_sink_trouble(sink, "cannot write: %s", strerror(-err));
		if (err == -EAGAIN)
			return;		/* a pipe that is full: later */
		if (err)
			sink->dropped++;
		else
			sink->sent++;
		sl_sink_pop(sink, 1);
	}
}
