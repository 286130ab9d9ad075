"""Records of running services in `<run>/services/<name>`: by them a later node finds what a killed one left running.

The folder is also the working directory of the service, which marks its processes even where no record was written yet.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hosthold.node import process
from hosthold.types.node import NodeLayout
from hosthold.types.resource import Service

_MARK = "HOSTHOLD_SERVICE"


class Record(NamedTuple):
    """Which process is the service, and the definition that it was started with."""

    service: Service
    pid: int
    start_time: int
    boot: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        status = process.status_of(self.pid)
        return status is not None and status.start_time == self.start_time and self.boot == process.boot_id()

    @property
    def may_have_session(self) -> bool:
        """Whether a session of this number can only be the service's: no number is used again while it is a session."""
        return self.boot == process.boot_id() and (self.is_alive or process.status_of(self.pid) is None)


class Records:
    """The records of one node."""

    def __init__(self, layout: NodeLayout) -> None:
        self._base = Path(layout.run, "services")
        self._state = layout.state

    def prepare(self) -> None:
        """Make the folder of records."""
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)

    def folder(self, name: str) -> str:
        """The service's working directory; made if it is missing."""
        folder = self._base / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder)

    def mark(self, name: str) -> dict[str, str]:
        """The variable that the service's processes inherit."""
        return {_MARK: f"{self._state}:{name}"}

    def write(self, service: Service, pid: int) -> None:
        """Note which process is the service. Needs no fsync: after a power failure nothing of it is true."""
        status = process.status_of(pid)
        fields = {
            "service": service.model_dump(mode="json"),
            "pid": pid,
            "start_time": 0 if status is None else status.start_time,
            "boot": process.boot_id(),
        }
        folder = Path(self.folder(service.name))
        temporary = folder / "record.new"
        temporary.write_text(json.dumps(fields), "utf-8")
        temporary.rename(folder / "record.json")

    def read(self, name: str) -> Record | None:
        """The service's record, if there is a whole one."""
        with suppress(FileNotFoundError, ValueError, KeyError):
            fields = json.loads((self._base / name / "record.json").read_text("utf-8"))
            service = Service.model_validate_json(json.dumps(fields["service"]))
            return Record(service, int(fields["pid"]), int(fields["start_time"]), str(fields["boot"]))
        return None

    def remove(self, name: str) -> None:
        """Forget the service."""
        shutil.rmtree(self._base / name, ignore_errors=True)

    def names(self) -> list[str]:
        """All services that have a record or the beginning of one."""
        return sorted(entry.name for entry in self._base.iterdir())

    def is_marked(self, pid: int) -> bool:
        """Whether the process bears this node's mark. A tenant can plant it: it is a reason to end, never to trust."""
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if str(Path(f"/proc/{pid}/cwd").readlink()).startswith(f"{self._base}/"):
                return True
            environment = "\0" + Path(f"/proc/{pid}/environ").read_text("utf-8", "replace")
            return f"\0{_MARK}={self._state}:" in environment
        return False


def end_strays(records: Records, recorded: set[str], declared: set[str], adopted: set[int]) -> None:
    """End all that bears our mark or a record and was not adopted, and remove what it left behind (R-38)."""
    for name in sorted(recorded):
        record = records.read(name)
        if record is not None and record.pid not in adopted and record.may_have_session:
            process.kill_session(record.pid)
        if name not in declared:
            records.remove(name)

    def is_stray(pid: int) -> bool:
        status = process.status_of(pid)
        return status is not None and status.session not in adopted and records.is_marked(pid)

    for pid in [pid for pid in process.pids() if is_stray(pid)]:
        process.kill(pid, is_stray)
