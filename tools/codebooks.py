#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/codec/codebooks.c from the lists of points in tests/golden/codebooks (one point a line, in index order).

    tools/codebooks.py > src/codec/codebooks.c
"""
import pathlib

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/codebooks"
HEAD = """/* SPDX-License-Identifier: MIT */
/* The codebooks, packed; codebooks.h says how. Made by tools/codebooks.py from tests/golden/codebooks: change those. */
#include "codec/codebooks.h"
"""


def points(name):
    return [[int(v) for v in line.split()] for line in (SOURCE / f"{name}.txt").read_text().splitlines()]


def table(kind, name, values, form, a_line):
    print(f"\nconst {kind} kq_{name}[{len(values)}] = {{")
    for i in range(0, len(values), a_line):
        print("    " + ", ".join(form % v for v in values[i:i + a_line]) + ",")
    print("};")


def levels(name, kind="uint8_t", size=None):
    """The distinct values of a grid, ascending: code -> level."""
    values = sorted({v for point in points(name) for v in point})
    return values + [0] * ((size or len(values)) - len(values))


def grid(name, file, bits):
    codes = {v: code for code, v in enumerate(levels(file))}
    packed = [sum(codes[v] << bits * e for e, v in enumerate(point)) for point in points(file)]
    table("uint16_t", f"grid_{name}", packed, "0x%04x", 16)


print(HEAD, end="")
table("uint8_t", "levels_iq2", levels("iq2_xxs", size=4), "%d", 16)
table("uint8_t", "levels_iq3_xxs", levels("iq3_xxs"), "%d", 16)
table("uint8_t", "levels_iq3_s", levels("iq3_s"), "%d", 16)
table("int8_t", "levels_iq4", [p[0] for p in points("iq4")], "%d", 16)
table("int8_t", "levels_e2m1", [p[0] for p in points("e2m1_doubled")], "%d", 16)
for name, file, bits in [("iq2_xxs", "iq2_xxs", 2), ("iq2_xs", "iq2_xs", 2), ("iq2_s", "iq2_s", 2), ("iq3_xxs", "iq3_xxs", 3),
                         ("iq3_s", "iq3_s", 3), ("iq1", "iq1_s", 2)]:
    grid(name, file, bits)
