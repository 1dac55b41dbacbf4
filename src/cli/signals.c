/* SPDX-License-Identifier: MIT */
/* Ctrl-C, mappings that fail, and descriptors that the caller closed. */
#include "cli/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;
static const char *volatile mapped_path;
static atomic_flag bus_error_told = ATOMIC_FLAG_INIT;

static void on_stop(int signal_number) { stopped = signal_number; }

/* The kernel raises SIGBUS where a page of a mapped file cannot be had: the file was cut, or the disk failed. Only functions
 * that POSIX calls async-signal-safe; any thread may be here. */
static void on_bus_error(int signal_number, siginfo_t *info, void *context) {
    (void)context;
    if (info->si_code != BUS_ADRERR) { /* not a page of a file: our own fault, so die of it */
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    while (atomic_flag_test_and_set(&bus_error_told)) pause(); /* another thread met it first, and is about to end the program */
    const char *path = mapped_path;
    char line[512];
    size_t n = 0;
    const char *parts[] = {cli_bar_shown ? "\n" : "", "kquant: ", path ? path : "a mapped file",
                           ": the file became shorter, or could not be read, while it was in use\n"};
    for (size_t i = 0; i < CLI_COUNT(parts); i++) {
        size_t room = sizeof line - n - (i < 3 ? strlen(parts[3]) : 0), size = CLI_MIN(strlen(parts[i]), room);
        memcpy(line + n, parts[i], size);
        n += size;
    }
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
    _exit(CLI_BAD_FILE);
}

void cli_signals_start(void) {
    /* A closed descriptor 1 would be given to the next file that is opened, and the text written into it. Reading ends such
     * a stdin at once, and writing to such a stdout fails. */
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd) _exit(CLI_FAILED);
    }
    struct sigaction bus = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGPIPE, SIG_DFL); /* some parents leave it ignored */
}

void cli_signals_file(const char *path) { mapped_path = path; }

void cli_signals_catch_stop(void) {
    /* no SA_RESTART: a read from a terminal or a write to a full pipe must end too */
    struct sigaction stop = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

bool cli_stopped(void) { return stopped != 0; }
int cli_stopped_code(void) { return 128 + stopped; }
