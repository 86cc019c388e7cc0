#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Has spin look at every state of tests/model/cancel_protocol.pml, and at what happens without each of its rules.

Usage: check_model.py ROOT [--show RULE]
  --show RULE  only what goes wrong without this rule, step by step
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile


def run(command, folder):
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def check(model, left_out, folder):
    """Returns the number of states and what was violated, if anything; the steps to it lie in `folder` then."""
    run(["spin", *([f"-D{left_out}"] if left_out else []), "-a", str(model)], folder)
    run(["gcc", "-O2", "-w", "-DSAFETY", "-DMEMLIM=2000", "-o", "pan", "pan.c"], folder)
    report = run(["./pan", "-m100000"], folder)
    errors = int(re.search(r"errors: (\d+)", report).group(1))
    if errors == 0 and ("max search depth too small" in report or "Search not completed" in report):
        sys.exit(f"not every state was seen:\n{report}")
    states = int(re.search(r"(\d+) states, stored", report).group(1))
    what = re.search(r"pan:\d+: (.*) \(at depth", report)
    return states, what.group(1) if errors else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--show", metavar="RULE")
    arguments = parser.parse_args()
    model = arguments.root.resolve() / "tests" / "model" / "cancel_protocol.pml"
    rules = re.findall(r"^ \*   ([A-Z_]+)  ", model.read_text(), re.MULTILINE)
    if arguments.show and arguments.show not in rules:
        sys.exit(f"no rule {arguments.show}: choose one of {', '.join(rules)}")
    good = True
    for left_out in [arguments.show] if arguments.show else [None, *rules]:
        with tempfile.TemporaryDirectory() as folder:
            states, violated = check(model, left_out, folder)
            expected = (violated is None) == (left_out is None)
            good &= expected
            print(f"{left_out or 'all rules':<24} {states:>8} states  {violated or 'nothing is violated'}"
                  f"{'' if expected else '  UNEXPECTED'}", flush=True)
            if arguments.show:
                trail = next(pathlib.Path(folder).glob("*.trail"))
                print(run(["spin", f"-D{left_out}", "-t", "-p", "-k", str(trail), str(model)], folder))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
