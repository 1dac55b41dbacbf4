/* SPDX-License-Identifier: MIT */
/* The terminal: its width, whether colour is wanted, and bars. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

volatile int cli_bar_shown;

int cli_columns(FILE *stream) {
    int64_t columns;
    const char *given = getenv("COLUMNS");
    if (given && cli_parse_whole(given, 20, 1000, &columns)) return (int)columns;
    struct winsize size;
    if (isatty(fileno(stream)) && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
    return 80;
}

static bool understands_escapes(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static bool wants_colour(void) {
    const char *no = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    return !(no && *no) && understands_escapes();
}

const char *cli_faint(void) { return wants_colour() ? "\x1b[2m" : ""; }
const char *cli_plain(void) { return wants_colour() ? "\x1b[0m" : ""; }

void cli_bar(const char *label, double done) {
    static double last;
    static int drawn_percent = -1;
    if (cli_quiet || !understands_escapes()) return;
    double now = cli_seconds();
    int percent = done >= 1 ? 100 : done > 0 ? (int)(done * 100) : 0;
    if (cli_bar_shown && (now - last < 0.1 || percent == drawn_percent)) return;
    last = now;
    drawn_percent = percent;
    enum { WIDEST = 40 };
    int width = cli_columns(stderr) - (int)strlen(label) - 10;
    width = CLI_MAX(0, CLI_MIN(width, WIDEST));
    int full = width * percent / 100;
    char cells[WIDEST + 1];
    memset(cells, '#', (size_t)full);
    memset(cells + full, '.', (size_t)(width - full));
    cells[width] = 0;
    fprintf(stderr, "\r%s [%s] %3d%%\x1b[K", label, cells, percent);
    cli_bar_shown = 1;
}

void cli_bar_clear(void) {
    if (!cli_bar_shown) return;
    fputs("\r\x1b[K", stderr);
    cli_bar_shown = 0;
}
