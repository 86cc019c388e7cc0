#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Synthesises the engine with yosys for UltraScale+ and prints what it takes, by parameters.

Usage: synth.py ROOT [--one-queue]
All but the depth: `synth_xilinx -family xcup`. LUT: the LUTs of the device, two small functions in one where yosys
estimates that they fit (`stat -tech xilinx`), and those that serve as memory. Functions: the same before packing, LUT1 to
LUT6, without memory. Depth: LUTs of six inputs on the longest path between registers or ports after `synth -flatten -lut 6`,
memories taken as registers and multiplexers, carry chains as logic: a measure to compare by, not a timing. Fails on latches,
combinational loops and nets with several drivers.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SETS = [
    {"NUM_QUEUES": 1, "NUM_SLOTS": 64, "PREFETCH": 16, "MAX_OUTSTANDING": 16},
    {"NUM_QUEUES": 1},
    {"NUM_QUEUES": 2},
    {"NUM_QUEUES": 4},
    {"NUM_QUEUES": 1, "NUM_MASTERS": 1},
    {"NUM_QUEUES": 1, "DATA_WIDTH": 64},
    {"NUM_QUEUES": 1, "DATA_WIDTH": 256},
    {"NUM_QUEUES": 1, "DATA_WIDTH": 1024},
]
GOAL_LUT, GOAL_DEPTH = 3000, 10  # of one queue with 512 bits
LUT_OF = {"RAM32M": 4, "RAM32M16": 8, "RAM64M": 4, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "SRL16E": 1}


def sources(rtl):
    text = (rtl / "CMakeLists.txt").read_text()
    design = text[text.index("set(SLUICE_RTL_DESIGN"):]
    return re.findall(r"\S+\.sv", design[:design.index(")")])


def yosys(rtl, parameters, commands):
    """yosys 0.23 trips over -chparam here, so the defaults are written into a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sources(rtl):
            text = (rtl / name).read_text()
            if name == "scrub.sv":
                for parameter, value in parameters.items():
                    text, count = re.subn(rf"(parameter [^=\n]*\b{parameter} *= )[^,]*,", rf"\g<1>{value},", text)
                    assert count == 1, parameter
            (pathlib.Path(folder) / name).write_text(text)
        script = f"read_verilog -sv {' '.join(sources(rtl))}; hierarchy -check -top scrub; {commands}"
        done = subprocess.run(["yosys", "-p", script], cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-2000:] + done.stderr)
        return done.stdout


def measure(rtl, parameters):
    mapped = yosys(rtl, parameters, "synth_xilinx -family xcup -flatten; check -assert; stat -tech xilinx")
    cells = dict(re.findall(r"^\s+(\w+)\s+(\d+)$", mapped[mapped.rindex("Number of cells"):], re.M))
    cells = {name: int(count) for name, count in cells.items()}
    if any(name.startswith("LD") for name in cells):
        raise RuntimeError(f"there are latches with {parameters}: {cells}")
    packed = int(re.search(r"Estimated number of LCs:\s+(\d+)", mapped).group(1))
    functions = sum(count for name, count in cells.items() if re.fullmatch(r"LUT[1-6]", name))
    memory = sum(count * LUT_OF.get(name, 0) for name, count in cells.items())
    ff = sum(count for name, count in cells.items() if name.startswith("FD"))
    bram = sum(count * (1 if name.startswith("RAMB36") else 0.5)
               for name, count in cells.items() if name.startswith("RAMB"))
    path = yosys(rtl, parameters, "synth -flatten -lut 6; check -assert; ltp -noff")
    depth = int(re.search(r"length=(\d+)", path).group(1))
    return packed + memory, functions, memory, ff, bram, depth


def main():
    rtl = pathlib.Path(sys.argv[1]) / "rtl"
    queues = {}
    sets = SETS[1:2] if "--one-queue" in sys.argv[2:] else SETS
    print("512 bits, two masters, 256 slots, 128 descriptors ahead and 128 bursts under way where not said otherwise")
    print(f"{'parameters':62} {'LUT':>6} {'as memory':>9} {'functions':>9} {'FF':>6} {'BRAM36':>7} {'depth':>6}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for parameters, result in zip(sets, pool.map(lambda one: measure(rtl, one), sets)):
            lut, functions, memory, ff, bram, depth = result
            name = " ".join(f"{key}={value}" for key, value in parameters.items())
            verdict = ""
            if parameters == {"NUM_QUEUES": 1}:
                verdict = "  reached" if lut <= GOAL_LUT and depth <= GOAL_DEPTH else "  MISSED"
            print(f"{name:62} {lut:6} {memory:9} {functions:9} {ff:6} {bram:7} {depth:6}{verdict}", flush=True)
            if parameters.keys() == {"NUM_QUEUES"}:
                queues[parameters["NUM_QUEUES"]] = lut
    print(f"goal for NUM_QUEUES=1: at most {GOAL_LUT} LUT, depth at most {GOAL_DEPTH}")
    if 1 in queues and 4 in queues:
        print(f"each further queue: {(queues[4] - queues[1]) / 3:.0f} LUT")
    return 0


if __name__ == "__main__":
    sys.exit(main())
