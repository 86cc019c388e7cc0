#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds each mutant, one change in one source file, and runs the test that must see it.

usage: mutants.py SOURCE_DIR BUILD_DIR [--folder FOLDER] [--seconds S] [--fit] [NAME...]

Mutants are patches in tests/world/mutations, which the world finds, and in tests/mutations, whose first line says what finds them:
`# caught by: PROGRAM [ARGUMENT...]`. The mutant's object is compiled as the build compiles that file and linked before the libraries, so
that it takes the place of the original. A private header is compiled as part of each source of its folder that includes it. Exit code 1: a
mutant was not caught in time, or a patch does not fit any more.
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


def link_command(build, program):
    """How ninja links a test program."""
    lines = subprocess.run(["ninja", "-C", str(build), "-t", "commands", f"tests/{program}"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    link = [part.strip() for line in lines for part in line.split("&&") if f" -o tests/{program} " in part]
    return shlex.split(link[-1])


def sources_of(target, folder):
    """The sources to compile for a change of `target`: itself, or those of its folder that include it, directly or not."""
    if target.suffix == ".cpp":
        return [target]
    texts = {path: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix in (".cpp", ".hpp")}
    reached = {target}
    while True:
        more = {path for path, text in texts.items() if any(f'#include "{header.name}"' in text for header in reached)} - reached
        if not more:
            return sorted(path for path in reached if path.suffix == ".cpp")
        reached |= more


def finder_of(patch, seconds):
    """The program that finds a mutant, its arguments, and how long that may take in seconds."""
    first = patch.read_text(encoding="utf-8").splitlines()[0]
    if first.startswith("# caught by: "):
        program, *arguments = shlex.split(first.removeprefix("# caught by: "))
        return program, arguments, 60
    return "world", ["--seconds", str(seconds), "--shrink", "0"], seconds + 60


def target_of(patch):
    """The file that a patch changes, from the root."""
    return re.search(r"^\+\+\+ b/(\S+)$", patch.read_text(encoding="utf-8"), re.MULTILINE).group(1)


def fits(patch, source):
    """None: the patch fits. Else why not."""
    applied = subprocess.run(["git", "apply", "--check", str(patch)], cwd=source, capture_output=True, text=True)
    return None if applied.returncode == 0 else f"the patch does not fit: {applied.stderr.strip()}"


def try_mutant(patch, source, build, commands, seconds):
    """None: caught. Else what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        target = target_of(patch)
        room = "/".join(target.split("/")[:2])
        shutil.copytree(source / room, folder / room)
        # Outside of any repository git applies a patch to plain files.
        environment = dict(os.environ, GIT_CEILING_DIRECTORIES=str(folder.parent))
        applied = subprocess.run(["git", "apply", str(patch)], cwd=folder, env=environment, capture_output=True, text=True)
        if applied.returncode != 0:
            return f"the patch does not fit: {applied.stderr.strip()}"
        objects = []
        for changed in sources_of(folder / target, folder / room):
            original = source / changed.relative_to(folder)
            compiler = [word.replace(f"{source}/{room}", f"{folder}/{room}") for word in commands[str(original)]]
            objects.append(f"{changed}.o")
            compiler = compiler[: compiler.index("-o")] + ["-O1", "-g0", "-o", objects[-1], "-c", str(changed)]
            compiled = subprocess.run(compiler, cwd=folder, capture_output=True, text=True)
            if compiled.returncode != 0:
                return f"it does not compile: {compiled.stderr.strip()[:2000]}"
        if not objects:
            return f"no source of {room} includes {target}: change a source instead"
        program, arguments, limit = finder_of(patch, seconds)
        link = link_command(build, program)
        place = link.index("-o")
        # Before everything else: the library's own objects of these names are not needed any more then.
        linker = link[:place] + [*objects, "-o", str(folder / program)] + link[place + 2:]
        linked = subprocess.run(linker, cwd=build, capture_output=True, text=True)
        if linked.returncode != 0:
            return f"it does not link: {linked.stderr.strip()[:2000]}"
        try:
            said = subprocess.run([str(folder / program), *arguments], cwd=folder, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return f"{program} hangs instead of failing: no end within {limit} s"
        if said.returncode == 0:
            return f"not caught: {said.stdout.strip().splitlines()[-1]}"
        if "0 tests from 0 test suites ran" in said.stdout:
            return f"{program} has no such test: {' '.join(arguments)}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=20, help="so long a mutant may live")
    parser.add_argument("--folder", help="only the mutants of this folder, such as tests/mutations")
    parser.add_argument("--fit", action="store_true", help="only whether the patches fit: seconds")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    source = options.source.resolve()
    build = options.build.resolve()
    folders = [options.folder] if options.folder else ["tests/world/mutations", "tests/mutations"]
    patches = sorted(patch for folder in folders for patch in (source / folder).glob("*.patch"))
    if options.names:
        patches = [patch for patch in patches if patch.stem in options.names]
    if not patches:
        sys.exit("mutants.py: there are no patches of these names")
    commands = commands_of(build)
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        if options.fit:
            tries = {pool.submit(fits, patch, source): patch for patch in patches}
        else:
            tries = {pool.submit(try_mutant, patch, source, build, commands, options.seconds): patch for patch in patches}
        for done in concurrent.futures.as_completed(tries):
            problem = done.result()
            print(f"{tries[done].stem}: {problem or ('fits' if options.fit else 'caught')}", flush=True)
            missed += problem is not None
    print(f"{len(patches) - missed} of {len(patches)} mutants {'fit' if options.fit else 'caught'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
