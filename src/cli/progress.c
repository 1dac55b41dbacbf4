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

/* "  2:07 left", from what was done since the bar appeared; empty while that is too little to tell. */
static void time_left(char *text, size_t size, double elapsed, double gained, double left) {
    text[0] = 0;
    if (elapsed < 2 || gained < 0.005 || left <= 0) return;
    double seconds = elapsed / gained * left + 0.5;
    if (seconds < 100.0 * 3600) {
        int s = (int)seconds;
        if (s >= 3600) snprintf(text, size, "  %d:%02d:%02d left", s / 3600, s / 60 % 60, s % 60);
        else snprintf(text, size, "  %d:%02d left", s / 60, s % 60);
    }
}

void cli_bar(const char *label, double done) {
    static double last, first, first_done;
    static int drawn_percent = -1;
    if (cli_quiet || !understands_escapes()) return;
    double now = cli_seconds();
    int percent = done >= 1 ? 100 : done > 0 ? (int)(done * 100) : 0;
    if (!cli_bar_shown) {
        first = now;
        first_done = done;
    }
    if (cli_bar_shown && (now - last < 0.1 || (percent == drawn_percent && now - last < 1))) return;
    last = now;
    drawn_percent = percent;
    enum { WIDEST = 40 };
    char left[24];
    time_left(left, sizeof left, now - first, done - first_done, 1 - done);
    int width = cli_columns(stderr) - (int)strlen(label) - (int)strlen(left) - 10;
    width = CLI_MAX(0, CLI_MIN(width, WIDEST));
    int full = width * percent / 100;
    char cells[WIDEST + 1];
    memset(cells, '#', (size_t)full);
    memset(cells + full, '.', (size_t)(width - full));
    cells[width] = 0;
    fprintf(stderr, "\r%s [%s] %3d%%%s\x1b[K", label, cells, percent, left);
    cli_bar_shown = 1;
}

void cli_bar_clear(void) {
    if (!cli_bar_shown) return;
    fputs("\r\x1b[K", stderr);
    cli_bar_shown = 0;
}
