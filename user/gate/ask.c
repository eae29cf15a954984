// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"

int sl_gate_wrong(struct sl_gate *gate, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(gate->why, sizeof(gate->why), format, args);
	va_end(args);
	return -1;
}

char *sl_gate_read(int fd, bool line)
{
	char *text = malloc(SL_GATE_BYTES_MAX + 1);
	size_t n = 0;
	ssize_t got = 1;

	while (text && n < SL_GATE_BYTES_MAX && got) {
		got = read(fd, text + n, SL_GATE_BYTES_MAX - n);
		if (got < 0 && errno != EINTR)
			break;
		n += got > 0 ? (size_t)got : 0;
		if (line && n && text[n - 1] == '\n')
			break;
	}
	if (!text || got < 0 || n == SL_GATE_BYTES_MAX) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	return text;
}

static int dial(struct sl_gate *gate)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = -1;

	if (strlen(gate->socket) >= sizeof(address.sun_path))
		return sl_gate_wrong(gate, "%s: longer than a socket's path may be", gate->socket);
	strcpy(address.sun_path, gate->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	sl_gate_wrong(gate, "sluiced cannot be reached at %s: %s (`systemctl start sluiced`)",
		      gate->socket, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *text)
{
	size_t left = strlen(text);
	ssize_t n;

	while (left) {
		n = send(fd, text, left, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			text += n;
			left -= (size_t)n;
		}
	}
	return true;
}

static json_t *exchange(int fd, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
	json_t *answer = NULL;

	if (text && send_all(fd, text) && send_all(fd, "\n"))
		line = sl_gate_read(fd, true);
	if (line)
		answer = json_loads(line, 0, NULL);
	free(text);
	free(line);
	return answer;
}

static json_t *ask_once(struct sl_gate *gate, const json_t *request)
{
	int fd = dial(gate);
	json_t *answer;

	if (fd < 0)
		return NULL;
	answer = exchange(fd, request);
	close(fd);
	if (!answer)
		sl_gate_wrong(gate, "sluiced at %s ended without an answer", gate->socket);
	return answer;
}

json_t *sl_gate_ask(struct sl_gate *gate, const json_t *request)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	json_t *answer = ask_once(gate, request);

	for (unsigned waited = 0; !answer && waited < gate->patience_ms; waited += 50) {
		nanosleep(&nap, NULL);
		answer = ask_once(gate, request);
	}
	return answer;
}
