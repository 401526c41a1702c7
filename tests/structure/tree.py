"""The source tree as the structure tests see it: rooms, files and includes."""

import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Longest first, so that a path's room is the first prefix that fits.
ROOMS = (
    "dataplane/net", "dataplane/rules", "dataplane/route", "dataplane/pipeline",
    "dataplane/dpdk", "ctrack", "nat", "control", "app", "tests", "perf",
)

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def files(*suffixes):
    """Every file of the tree with one of the suffixes (all files without any), as paths from the
    root, build directories and version control left out."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        relative = pathlib.Path(folder).relative_to(ROOT)
        top = relative == pathlib.Path(".")
        folders[:] = sorted(
            f for f in folders
            if f not in (".git", "__pycache__", ".cache") and not (top and f.startswith("build")))
        found += [relative / n for n in names
                  if n != ".git" and (not suffixes or n.endswith(suffixes))]
    return sorted(found)


def room_of(path):
    """The room that a path from the root belongs to, or None."""
    text = str(path)
    for room in ROOMS:
        if text.startswith(room + "/"):
            return room
    return None


def includes(path):
    """[(line number, quoted, name)] for every #include of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 1, m.group(1) == '"', m.group(2))
            for m in _INCLUDE.finditer(text)]
