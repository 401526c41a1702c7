"""iptables' own test files, out of its source package, which is fetched when it isn't in the cache."""

import glob
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

VERSION = "1.8.9"
CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "iptables_t"
SECONDS = 120


class Unavailable(Exception):
    """The package can't be had here: no network, another distribution."""


def source_lists(folder):
    """The machine's own package sources, asked for sources instead of binaries."""
    made = 0
    lists = ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*"))
    for number, name in enumerate(lists):
        path = pathlib.Path(name)
        if not path.is_file():
            continue
        text = path.read_text()
        if path.suffix == ".sources":
            text = re.sub(r"(?mi)^Types:.*$", "Types: deb-src", text)
        elif path.suffix == ".list":
            text = re.sub(r"(?m)^\s*deb(-src)?\s", "deb-src ", text)
        else:
            continue
        (folder / f"{number}{path.suffix}").write_text(text)
        made += 1
    if not made:
        raise Unavailable("this machine has no package sources")


def run(words, folder):
    try:
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS,
                              env=dict(os.environ, LC_ALL="C"))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(str(error)) from error


def download(folder):
    """The upstream archive of the package, in `folder`; apt checks its signature."""
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    source_lists(folder / "parts")
    options = []
    for setting in ("Dir::Etc::SourceList=/dev/null", f"Dir::Etc::SourceParts={folder}/parts",
                    f"Dir::State::Lists={folder}/lists", f"Dir::Cache={folder}/cache",
                    "APT::Sandbox::User=root", "Acquire::Retries=1"):
        options += ["-o", setting]
    # Some third party's list may fail; what counts is whether the package is there.
    update = run(["apt-get", *options, "update"], folder)
    shown = run(["apt-cache", *options, "showsrc", "iptables"], folder)
    versions = re.findall(rf"(?m)^Version: ({re.escape(VERSION)}-\S+)$", shown.stdout)
    if not versions:
        raise Unavailable(f"no source of iptables {VERSION} here\n{update.stderr.strip()}")
    done = run(["apt-get", *options, "source", "--download-only", f"iptables={versions[0]}"], folder)
    archives = list(folder.glob(f"iptables_{VERSION}.orig.tar.*z*"))
    archives = [a for a in archives if a.suffix != ".asc"]
    if done.returncode or not archives:
        raise Unavailable(done.stderr.strip())
    return archives[0]


def test_files():
    """The folder with the *.t files."""
    folder = CACHE / VERSION
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        work = pathlib.Path(name)
        with tarfile.open(download(work)) as archive:
            ready = work / "ready"
            ready.mkdir()
            for member in archive:
                path = pathlib.PurePosixPath(member.name)
                if member.isfile() and path.parent.name == "extensions" and path.suffix == ".t":
                    (ready / path.name).write_bytes(archive.extractfile(member).read())
        # At once, so that a run that is cut short leaves no half of it.
        ready.rename(folder)
    return folder
