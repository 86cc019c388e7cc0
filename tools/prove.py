#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the proofs of rtl/formal with yosys-smtbmc and z3.

Usage: prove.py ROOT [--quick] [--only NAME] [--mutants]
  --quick    only the proofs that take seconds
  --mutants  for each proof, that it fails on the broken designs that are listed for it
"""
import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import tomllib

LIMIT_S = 400  # for one run of the solver


def run(command, cwd):
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as expired:
        return subprocess.CompletedProcess(command, 124, f"no answer in {LIMIT_S} s", str(expired))


def check(root, name, proof, mutant):
    """Returns (holds, text). holds is None when there was no answer."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        harness = proof.get("harness", name)
        for source in ["sluice_ring_pkg.sv", "sluice_pkg.sv", *proof["design"], f"formal/{harness}_proof.sv"]:
            text = (root / "rtl" / source).read_text()
            if source == f"formal/{harness}_proof.sv":
                for old, new in proof.get("change", {}).items():
                    if text.count(old) != 1:
                        return None, f"the text to change is {text.count(old)} times in {source}"
                    text = text.replace(old, new)
            if mutant and source == mutant["file"]:
                if text.count(mutant["from"]) != 1:
                    return None, f"the text to break is {text.count(mutant['from'])} times in {source}"
                text = text.replace(mutant["from"], mutant["to"])
            target = pathlib.Path(folder) / pathlib.Path(source).name
            target.write_text(text)
            files.append(target.name)
        # Memories become registers before the modules are joined, so that a harness can name their words.
        script = (f"read_verilog -sv -formal {' '.join(files)}; hierarchy -check -top {harness}_proof; proc; "
                  "memory -nomap; memory_map; flatten; prep; async2sync; setundef -anyseq -undriven; "
                  "chformal -assume -early; opt -fast; dffunmap; write_smt2 -wires p.smt2")
        made = run(["yosys", "-q", "-p", script], folder)
        if made.returncode != 0:
            return None, made.stdout + made.stderr
        solve = ["yosys-smtbmc", "-s", "z3", "--unroll"]
        steps = [[*solve, "-t", str(proof["depth"]), "p.smt2"]]
        if proof["induction"]:
            steps.append([*solve, "-i", "-t", str(proof["induction"]), "p.smt2"])
        for step in steps:
            said = run(step, folder).stdout
            if "Status: FAILED" in said:
                return False, said[-1500:]
            if "Status: PASSED" not in said:  # no answer: neither proved nor caught
                return None, said[-1500:]
        return True, ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    proofs = tomllib.loads((arguments.root / "rtl/formal/proofs.toml").read_text())
    work = []
    for name, proof in proofs.items():
        if (arguments.only and name != arguments.only) or (arguments.quick and not proof["quick"]):
            continue
        work.append((name, proof, None))
        if arguments.mutants:
            work += [(name, proof, mutant) for mutant in proof.get("mutants", [])]
    if not work:
        print(f"no such proof: give one of {', '.join(proofs)}", file=sys.stderr)
        return 2

    def one(item):
        name, proof, mutant = item
        start = time.monotonic()
        holds, text = check(arguments.root, name, proof, mutant)
        return name, proof, mutant, holds, text, time.monotonic() - start

    bad = 0
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, proof, mutant, holds, text, seconds in pool.map(one, work):
            how = f"induction over {proof['induction']}" if proof["induction"] else f"{proof['depth']} cycles from reset"
            if mutant is None:
                good = holds is True
                print(f"{'proved ' if good else 'FAILED '} {name:18} {how:24} {seconds:6.1f} s", flush=True)
            else:
                good = holds is False
                print(f"{'caught ' if good else 'MISSED '} {name:18} {mutant['what']:50} {seconds:6.1f} s", flush=True)
            if not good:
                bad += 1
                print(text, flush=True)
    print(f"{len(work)} runs in {(time.monotonic() - begin) / 60:.1f} minutes (all: goal at most 15 on 2 cores); "
          f"{'all as they should be' if bad == 0 else f'{bad} are not as they should be'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
