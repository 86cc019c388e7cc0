#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the timing diagrams of docs/rtl/timing from their scenarios: NAME.toml -> NAME.json (WaveJSON) -> NAME.svg.

Usage: timing_diagrams.py ROOT SLUICE_SIM [--check]
The pictures are drawn by npm's wavedrom, which is fetched into build/npm. With --check nothing is written: the scenarios are
played again, and their diagrams must be what lies there, and the pictures drawn from just these.
"""
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

WAVEDROM = "wavedrom@3.7.0"


def record(simulator, scenario, target):
    done = subprocess.run([simulator, scenario, "--timing", target], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{scenario}: {done.stdout}{done.stderr}")


def mark(diagram):
    return f"<!-- of {diagram.name} with SHA-256 {hashlib.sha256(diagram.read_bytes()).hexdigest()} -->"


def draw(npm, diagram, picture):
    done = subprocess.run(["node", npm / "node_modules/wavedrom/bin/cli.js", "--input", diagram], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{diagram}: {done.stderr}")
    svg = done.stdout
    # The skin defines many shapes; keep those that are drawn.
    used = set(re.findall(r'href="#([^"]+)"', svg))
    svg = re.sub(r'<g id="([^"]+)">(?:(?!<g |</g>).)*</g>',
                 lambda found: found.group(0) if found.group(1) in used or "_" in found.group(1) else "", svg, flags=re.S)
    # White paper under it: dark pages show it too.
    svg = re.sub(r"(<svg [^>]*>)", r'\1<rect width="100%" height="100%" fill="white"/>', svg, count=1)
    picture.write_text(f"{mark(diagram)}\n{svg}\n")


def main():
    root, simulator = pathlib.Path(sys.argv[1]), sys.argv[2]
    check = "--check" in sys.argv[3:]
    scenarios = sorted((root / "docs/rtl/timing").glob("*.toml"))
    if not scenarios:
        sys.exit("there are no scenarios")
    npm = root / "build/npm"
    if not check:
        npm.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-save", "--prefix", npm, WAVEDROM], check=True)
    bad = 0
    for scenario in scenarios:
        diagram, picture = scenario.with_suffix(".json"), scenario.with_suffix(".svg")
        if check:
            with tempfile.TemporaryDirectory() as folder:
                again = pathlib.Path(folder) / "again.json"
                record(simulator, scenario, again)
                if not diagram.exists() or again.read_text() != diagram.read_text():
                    bad += 1
                    print(f"{diagram} is not what {scenario.name} gives today: run `make diagrams`")
                elif not picture.exists() or not picture.read_text().startswith(mark(diagram)):
                    bad += 1
                    print(f"{picture} was not drawn from {diagram.name} as it is: run `make diagrams`")
            continue
        record(simulator, scenario, diagram)
        draw(npm, diagram, picture)
        print(picture)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
