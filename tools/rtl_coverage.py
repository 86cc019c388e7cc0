#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sums up which lines of the RTL and which bits of its signals the simulations of a folder of .dat files have reached.

Usage: rtl_coverage.py ROOT FOLDER
Points of all builds, instances and runs count together. What was not reached is listed, with the reason that
rtl/coverage.toml gives for it. Exits with 1 when something is left that has no reason.
"""
import collections
import pathlib
import re
import sys
import tomllib

FIELD = re.compile("\x01(\\w+)\x02([^\x01]*)")


def read(folder, rtl):
    """(file, line, column, kind, object) -> hits. kind: 'line' (blocks and branches) or 'toggle'."""
    points = collections.Counter()
    files = sorted(folder.glob("*.dat"))
    if not files:
        sys.exit(f"{folder}: there is no .dat file")
    for file in files:
        for line in file.open(encoding="utf-8", errors="surrogateescape"):
            if not line.startswith("C '"):
                continue
            text, hits = line[3:].rsplit("' ", 1)
            fields = dict(FIELD.findall(text))
            source = pathlib.Path(fields["f"])
            if source.parent != rtl:
                continue
            kind = "toggle" if "toggle" in fields["page"] else "line"
            points[source.name, int(fields["l"]), int(fields["n"]), kind, fields["o"]] += int(hits)
    return points


def ranges(bits):
    """[0, 1, 2, 5] -> '2:0,5'"""
    parts, bits = [], sorted(bits)
    while bits:
        low = high = bits.pop(0)
        while bits and bits[0] == high + 1:
            high = bits.pop(0)
        parts.append(f"{high}:{low}" if high > low else f"{low}")
    return ",".join(parts)


def missing(points):
    """(file, what, number of points) of what was not reached; bits of one signal together."""
    lines, signals = [], collections.defaultdict(list)
    for (file, line, _, kind, name), hits in sorted(points.items()):
        if hits:
            continue
        if kind == "line":
            lines.append((file, f"line {line} ({name})", 1))
        else:
            base, bit = re.fullmatch(r"(.*?)(?:\[(\d+)\])?", name).groups()
            signals[file, base].append(int(bit) if bit else None)
    for (file, base), bits in signals.items():
        which = f"{base}[{ranges(bits)}]" if None not in bits else base
        lines.append((file, which, len(bits)))
    return sorted(lines)


def main():
    root, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    points = read(folder, root / "rtl")
    reasons = tomllib.loads((root / "rtl/coverage.toml").read_text())["reason"]
    unmet = missing(points)
    explained = collections.defaultdict(list)
    unexplained = []
    for file, what, count in unmet:
        reason = next((r for r in reasons if re.fullmatch(r["file"], file) and re.fullmatch(r["what"], what)), None)
        (explained[reason["why"]] if reason else unexplained).append((file, what, count))

    print(f"{'module':24} {'lines':>6} {'reached':>8} {'bits':>7} {'toggled':>8}")
    total = collections.Counter()
    for file in sorted({file for file, *_ in points}):
        row = collections.Counter()
        for (name, _, _, kind, _), hits in points.items():
            if name == file:
                row[kind] += 1
                row[kind, "met"] += hits > 0
        total += row
        print(f"{file:24} {row['line']:6} {row['line', 'met']:8} {row['toggle']:7} {row['toggle', 'met']:8}")
    print(f"{'all':24} {total['line']:6} {total['line', 'met']:8} {total['toggle']:7} {total['toggle', 'met']:8}   "
          f"lines {100 * total['line', 'met'] / total['line']:.1f} %, bits {100 * total['toggle', 'met'] / total['toggle']:.1f} %")
    for why, found in explained.items():
        print(f"\n{why}: {sum(count for *_, count in found)} points")
        for file, what, _ in found:
            print(f"  {file}: {what}")
    if unexplained:
        print(f"\nwithout a reason: {sum(count for *_, count in unexplained)} points")
        for file, what, _ in unexplained:
            print(f"  {file}: {what}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
