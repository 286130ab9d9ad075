"""Throw-away database servers, reached by a Unix socket in a folder of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.platform import temporary_folder


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server with its own defaults; the URL of an empty database."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    with temporary_folder() as folder:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

        def call(program: str, *arguments: str) -> None:
            subprocess.run(
                [str(binaries / program), *arguments],
                check=True,
                capture_output=True,
                cwd=folder,
                timeout=60,
                **identity,
            )

        data, log = f"{folder}/data", f"{folder}/log"
        call("initdb", "-D", data, "-U", "hosthold", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        call("pg_ctl", "-w", "-D", data, "-l", log, "-o", f"-k {folder} -c listen_addresses=", "start")
        try:
            call("createdb", "-h", str(folder), "-U", "hosthold", "hosthold")
            yield f"postgresql+psycopg://hosthold@/hosthold?host={folder}"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")


@contextmanager
def redis() -> Iterator[str]:
    """A Redis server that keeps nothing; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed; scripts/bench installs it")
    with temporary_folder() as folder:
        socket = folder / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                yield f"unix://{socket}"
            finally:
                server.terminate()
