#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds each mutant of the memory manager (tests/world/mutations/*.patch) and lets the world find it.

usage: mutants.py SOURCE_DIR BUILD_DIR [--seconds S] [NAME...]

A mutant is one change in one source file. Its object is compiled as the build compiles that file and linked before the
library, so that it takes the place of the original. Exit code 1: a mutant was not caught, or a patch does not fit any more.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile


def commands_of(build):
    with open(build / "compile_commands.json", encoding="utf-8") as file:
        return {entry["file"]: shlex.split(entry["command"]) for entry in json.load(file)}


def link_command(build):
    """How ninja links the world."""
    lines = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "tests/world"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    link = [part.strip() for part in lines[-1].split("&&") if " -o tests/world " in part]
    return shlex.split(link[0])


def try_mutant(patch, source, build, commands, link, seconds):
    """None: caught. Else what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        target = re.search(r"^\+\+\+ b/(\S+)$", patch.read_text(encoding="utf-8"), re.MULTILINE).group(1)
        shutil.copytree(source / "host", folder / "host")
        # Outside of any repository git applies a patch to plain files.
        environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(folder.parent))
        applied = subprocess.run(["git", "apply", str(patch)], cwd=folder, env=environment, capture_output=True, text=True)
        if applied.returncode != 0:
            return f"the patch does not fit: {applied.stderr.strip()}"
        compiler = [word.replace(f"{source}/host/", f"{folder}/host/") for word in commands[str(source / target)]]
        compiler = compiler[: compiler.index("-o")] + ["-O1", "-g0", "-o", "mutant.o", "-c", str(folder / target)]
        compiled = subprocess.run(compiler, cwd=folder, capture_output=True, text=True)
        if compiled.returncode != 0:
            return f"it does not compile: {compiled.stderr.strip()[:2000]}"
        place = link.index("-o")
        # Before everything else: the library's own object of that name is not needed any more then.
        linker = link[:place] + [str(folder / "mutant.o"), "-o", str(folder / "world")] + link[place + 2:]
        linked = subprocess.run(linker, cwd=build, capture_output=True, text=True)
        if linked.returncode != 0:
            return f"it does not link: {linked.stderr.strip()[:2000]}"
        told = subprocess.run([str(folder / "world"), "--seconds", str(seconds), "--shrink", "0"], capture_output=True, text=True)
        if told.returncode == 0:
            return f"not caught: {told.stdout.strip().splitlines()[-1]}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=20, help="so long a mutant may live")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    source = options.source.resolve()
    build = options.build.resolve()
    patches = sorted((source / "tests/world/mutations").glob("*.patch"))
    if options.names:
        patches = [patch for patch in patches if patch.stem in options.names]
    if not patches:
        sys.exit("mutants.py: there are no patches of these names")
    commands = commands_of(build)
    link = link_command(build)
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        tries = {pool.submit(try_mutant, patch, source, build, commands, link, options.seconds): patch for patch in patches}
        for done in concurrent.futures.as_completed(tries):
            problem = done.result()
            print(f"{tries[done].stem}: {problem or 'caught'}", flush=True)
            missed += problem is not None
    print(f"{len(patches) - missed} of {len(patches)} mutants caught")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
