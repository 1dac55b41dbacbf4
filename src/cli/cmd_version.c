/* SPDX-License-Identifier: MIT */
/* kquant version */
#include "cli/cli.h"

#include <string.h>

static int run(const void *values) {
    (void)values;
    printf("kquant %s", KQ_VERSION);
    if (strcmp(kq_version(), KQ_VERSION) != 0) printf(" with libkquant %s", kq_version());
    putchar('\n');
    return CLI_FINE;
}

const cli_command cli_version = {
    .name = "version",
    .usage = "",
    .summary = "Print the version",
    .description = "Prints the version of the program, and that of the library it found when that is another one.",
    .values_size = sizeof(cli_values),
    .run = run,
};
