#!/usr/bin/python3
"""Every header compiles alone.

A header whose own source file includes it before anything else is proved by the build itself; every
other one is compiled here, with the flags that the build uses for its folder. Usage:
headers_test.py BUILD_DIR.
"""

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

import tree


def proved_by_source(header, compiled):
    source = header.with_suffix(".cc")
    if source not in compiled:
        return False
    first = tree.includes(source)[:1]
    return bool(first) and first[0][1] and first[0][2] == str(header)


def load_flags(build):
    """({source path: flags}) from the compilation database, paths from the root."""
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if not source.is_relative_to(tree.ROOT):
            continue
        words = shlex.split(entry["command"])
        kept, index = [], 0
        while index < len(words):
            word = words[index]
            if word in ("-isystem", "-include"):
                kept += words[index:index + 2]
                index += 1
            elif word.startswith(("-I", "-isystem", "-D", "-std=", "-m", "-W", "-pthread")):
                kept.append(word)
            index += 1
        flags[source.relative_to(tree.ROOT)] = kept
    return flags


def flags_for(header, flags):
    """The flags of a source in the header's folder, or in the nearest folder above that has one."""
    for folder in header.parents:
        for source in sorted(flags):
            if source.is_relative_to(folder) and source.parent == folder:
                return flags[source]
        inside = [s for s in sorted(flags) if folder in s.parents]
        if inside:
            return flags[inside[0]]
    return []


def compile_alone(header, flags, build):
    command = ["g++", *flags_for(header, flags), "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, cwd=build, input=f'#include "{header}"\n', capture_output=True,
                          text=True, check=False)
    return header, done.returncode, done.stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    flags = load_flags(build)
    headers = tree.files(".h")
    alone = [h for h in headers if not proved_by_source(h, flags)]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, status, errors in pool.map(lambda h: compile_alone(h, flags, build), alone):
            if status != 0:
                bad += 1
                print(f"{header} doesn't compile alone:\n{errors}")
    print(f"{len(headers)} headers, {len(alone)} of them compiled here, {bad} bad")
    return 1 if bad or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
