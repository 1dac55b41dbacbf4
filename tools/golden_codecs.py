#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lists the FNV-1a 64 hash of every exact decoding (CODEC[.importance|.random].f32) in a folder of codec goldens.

    tools/golden_codecs.py FOLDER > tests/golden/codecs/decodings.txt
"""
import pathlib
import sys


def fnv1a(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h


for file in sorted(pathlib.Path(sys.argv[1]).glob("*.bytes")):
    print(f"{file.stem} {fnv1a(file.with_suffix('.f32').read_bytes()):016x}")
