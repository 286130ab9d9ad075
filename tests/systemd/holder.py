"""Runs beside the tests, in mounts of its own: holds the files and the control group of a machine, and ends both.

It ends when its input does, which is when the tests are over, however they ended. Arguments: a folder, a control group.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def main(folder: Path, group: Path) -> None:
    """Hold everything until nobody needs it any more."""
    subprocess.run(("/usr/bin/mount", "-t", "tmpfs", "tmpfs", folder), check=True)
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(("/usr/bin/mount", "-t", "overlay", "overlay", "-o", layers, folder / "root"), check=True)
    group.mkdir()
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        (group / "cgroup.kill").write_text("1")
        while "populated 1" in (group / "cgroup.events").read_text():
            time.sleep(0.01)
        remove(group)
        remove(Path(str(group).replace("/unified/", "/systemd/")))  # beside it where both versions of groups are in use


def remove(group: Path) -> None:
    """Remove a control group with those in it, in which nothing runs."""
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
