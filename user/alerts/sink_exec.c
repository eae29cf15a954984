// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A command for each alert: the configured words and nothing else, no shell, the alert as
 * JSON on standard input. At most so many at once, each for so long.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alert_text.h"
#include "sink_internal.h"

int sl_exec_open(struct sl_sink *sink)
{
	sink->children = calloc(sink->config->parallel, sizeof(*sink->children));
	return sink->children ? 0 : -ENOMEM;
}

size_t sl_exec_running(const struct sl_sink *sink)
{
	size_t n = 0;

	for (size_t i = 0; sink->children && i < sink->config->parallel; i++)
		n += sink->children[i].pid != 0;
	return n;
}

/* Nobody waits for them any more: they end with us. */
void sl_exec_close(struct sl_sink *sink)
{
	for (size_t i = 0; sink->children && i < sink->config->parallel; i++) {
		if (!sink->children[i].pid)
			continue;
		kill(-sink->children[i].pid, SIGKILL);
		waitpid(sink->children[i].pid, NULL, 0);
	}
	free(sink->children);
	sink->children = NULL;
}

/* The alert in a file without a name: a command that does not read holds nobody up. */
static int input_of(json_t *json)
{
	int fd = memfd_create("alert", MFD_CLOEXEC), err = fd < 0 ? -errno : 0;
	char *text = sl_json_ascii(json);

	if (!text)
		err = -ENOMEM;
	else if (!err && (dprintf(fd, "%s\n", text) < 0 || lseek(fd, 0, SEEK_SET)))
		err = -EIO;
	free(text);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

/* Only what may be called between fork and exec where there are other threads. */
static void child(char *const *command, int input)
{
	static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8",
					    NULL};
	sigset_t none;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (setpgid(0, 0) || dup2(input, STDIN_FILENO) < 0 || null < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		_exit(126);
	close_range(3, ~0u, 0);
	execve(command[0], command, environment);
	_exit(127);
}

static int start(struct sl_sink *sink, struct sl_child *place, __s64 now_ms)
{
	int input = input_of(sink->queue[0].json);
	pid_t pid;

	if (input < 0)
		return input;
	pid = fork();
	if (!pid)
		child(sink->config->command, input);
	close(input);
	if (pid < 0)
		return -errno;
	setpgid(pid, pid);	/* by whoever comes first */
	*place = (struct sl_child){.pid = pid, .until_ms = now_ms + sink->config->timeout_s * 1000};
	return 0;
}

static void ended(struct sl_sink *sink, struct sl_child *place, int status)
{
	/* what it left behind in its group ends too */
	kill(-place->pid, SIGKILL);
	if (place->killed)
		sl_sink_trouble(sink, "killed: it took longer than %lld s",
				(long long)sink->config->timeout_s);
	else if (WIFSIGNALED(status))
		sl_sink_trouble(sink, "ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		sl_sink_trouble(sink, "exit status %d", WEXITSTATUS(status));
	else
		sink->sent++;
	place->pid = 0;
}

static void look_after(struct sl_sink *sink, struct sl_child *place, __s64 now_ms)
{
	int status;

	if (place->pid && waitpid(place->pid, &status, WNOHANG) == place->pid) {
		ended(sink, place, status);
	} else if (place->pid && !place->killed && now_ms >= place->until_ms) {
		kill(-place->pid, SIGKILL);
		place->killed = true;
	}
}

void sl_exec_run(struct sl_sink *sink, __s64 now_ms)
{
	int err;

	for (size_t i = 0; i < sink->config->parallel; i++) {
		look_after(sink, &sink->children[i], now_ms);
		if (!sink->n || sink->children[i].pid)
			continue;
		err = start(sink, &sink->children[i], now_ms);
		if (err) {
			sl_sink_trouble(sink, "cannot be started: %s", strerror(-err));
			sink->dropped++;
		}
		sl_sink_pop(sink, 1);
	}
}
