/* SPDX-License-Identifier: MIT */
/* The smallest program with kquant; also what shows that an installed copy can be used, from C and from C++. */
#include <kquant/kquant.h>

#include <stdio.h>

int main(void) {
    printf("kquant %s\n", kq_version());
    return 0;
}
