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


def grid(name, file, bits, cell):
    """The points, packed, as a list that macros make tables of."""
    codes = {v: code for code, v in enumerate(levels(file))}
    packed = ["P(0x%04x)" % sum(codes[v] << bits * e for e, v in enumerate(point)) for point in points(file)]
    lines = [" ".join(packed[i:i + 14]) for i in range(0, len(packed), 14)]
    list_name = f"POINTS_{name.upper()}(P)"
    print(f"\n#define {list_name} \\\n    " + " \\\n    ".join(lines))
    print(f"const uint16_t kq_grid_{name}[{len(packed)}] = {{{list_name.replace('(P)', '(PACKED)')}}};")
    kind = f"uint{64 if bits == 2 else 32}_t"
    print(f"const {kind} kq_cells_{name}[{len(packed)}] = {{{list_name.replace('(P)', f'(CELL_{cell.upper()})')}}};")


def halves(name, file):
    """The points, which ascend, as lower halves and as steps of the upper half."""
    codes = {v: code for code, v in enumerate(levels(file))}
    packed = [sum(codes[v] << 2 * e for e, v in enumerate(point)) for point in points(file)]
    assert packed == sorted(packed)
    upper = sorted({p >> 8 for p in packed})
    rank = [upper.index(p >> 8) for p in packed]
    steps = [sum((rank[i + j] != rank[i + j - 1]) << j for j in range(1, 8)) for i in range(0, len(rank), 8)]
    print(f"\nconst kq_halves_{name} kq_halves_of_{name} = {{\n    {{POINTS_{name.upper()}(LOW)}},")
    for field in [rank[::8], steps, upper]:
        print("    {" + ",\n     ".join(", ".join("%d" % v for v in field[i:i + 28]) for i in range(0, len(field), 28)) + "},")
    print("};")


def packed_levels(values):
    return "0x" + "".join("%02x" % v for v in reversed(values)) + "u"


CELLS = """
#define PACKED(p) p,
#define LOW(p) (p) & 255,
/* a cell's bytes from its codes, 2 or 3 bits each, which name bytes of `levels` */
#define BYTE(levels, p, bits, e) ((uint64_t)(levels) >> 8 * ((p) >> (bits) * (e) & ((1 << (bits)) - 1)) & 255) << 8 * (e)
#define CELL_OF_4(levels, p, bits) (BYTE(levels, p, bits, 0) | BYTE(levels, p, bits, 1) | BYTE(levels, p, bits, 2) | BYTE(levels, p, bits, 3))
#define CELL_OF_8(levels, p) (CELL_OF_4(levels, (p) & 255, 2) | CELL_OF_4(levels, (p) >> 8, 2) << 32),
"""

print(HEAD, end="")
print(CELLS, end="")
for name, values in [("iq2", levels("iq2_xxs")), ("iq1", [8, 16, 24])]:
    print(f"#define CELL_{name.upper()}(p) CELL_OF_8({packed_levels(values)}, p)")
for name in ["iq3_xxs", "iq3_s"]:
    print(f"#define CELL_{name.upper()}(p) (uint32_t)CELL_OF_4({packed_levels(levels(name))}ll, p, 3),")
table("uint8_t", "levels_iq2", levels("iq2_xxs", size=4), "%d", 16)
table("uint8_t", "levels_iq3_xxs", levels("iq3_xxs"), "%d", 16)
table("uint8_t", "levels_iq3_s", levels("iq3_s"), "%d", 16)
table("int8_t", "levels_iq4", [p[0] for p in points("iq4")], "%d", 16)
table("int8_t", "levels_e2m1", [p[0] for p in points("e2m1_doubled")], "%d", 16)
for name, file, bits, cell in [("iq2_xxs", "iq2_xxs", 2, "iq2"), ("iq2_xs", "iq2_xs", 2, "iq2"), ("iq2_s", "iq2_s", 2, "iq2"),
                               ("iq3_xxs", "iq3_xxs", 3, "iq3_xxs"), ("iq3_s", "iq3_s", 3, "iq3_s"), ("iq1", "iq1_s", 2, "iq1")]:
    grid(name, file, bits, cell)
    if name in ["iq2_s", "iq1"]:
        halves(name, file)
