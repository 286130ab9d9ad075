"""The files by which systemd knows the services, also after a reboot. Knows paths; asks systemd nothing."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from hosthold_sdk import Misconfigured, Node

from .units import TARGET, Texts, Units, folder, templates

DIRECTORY = Path("/etc/systemd/system")
RUNTIME = Path("/run/systemd/system.control")
"""Where systemd itself keeps limits that were changed while it ran."""
_DROP_IN = "hosthold.conf"


class UnitFiles:
    """The unit files of one node."""

    def __init__(self, node: Node, stop: int) -> None:
        self._commands = Path(folder(node))
        self._templates = templates(node, stop)

    def prepare(self) -> bool:
        """Write what all services share; whether anything of it is new, so that systemd must read it again.

        Raises `Misconfigured` if the units here are those of a node with another state folder.
        """
        present = _read(DIRECTORY / "hosthold@.service")
        mark = f"EnvironmentFile={self._commands}/"
        if present and mark not in present:
            raise Misconfigured(
                f"{DIRECTORY}/hosthold@.service belongs to a node with another state folder; nothing was changed.",
                hint="A machine has one node under systemd. End the other one's services, and remove its files there.",
            )
        self._commands.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = [name for name, text in self._templates.items() if _read(DIRECTORY / name) != text]
        for name in changed:
            _write(DIRECTORY / name, self._templates[name], 0o644)
        (DIRECTORY / f"{TARGET}.wants").mkdir(exist_ok=True)
        _link(DIRECTORY / "multi-user.target.wants" / TARGET, DIRECTORY / TARGET)
        return bool(changed)

    def names(self) -> list[str]:
        """All services of which there are files, whole or not."""
        return sorted(entry.name for entry in self._commands.iterdir() if not entry.name.startswith("."))

    def read(self, name: str) -> Texts | None:
        """What is written for the service, if anything is."""
        command = _read(self._commands / name)
        if not command:
            return None
        socket, service, limits = map(_read, self._unit_paths(name))
        return Texts(socket, service, limits, command)

    def write(self, name: str, texts: Texts, *, sleeps: bool) -> None:
        """Write what differs. The command comes first: by it whatever is here is found again."""
        self.write_command(name, texts.command)
        for path, text in zip(self._unit_paths(name), texts[:3], strict=True):
            if not text:
                path.unlink(missing_ok=True)
            elif _read(path) != text:
                path.parent.mkdir(exist_ok=True)
                _write(path, text, 0o644)
        unit = Units.of(name)
        wants = DIRECTORY / f"{TARGET}.wants"
        for wanted, template, is_wanted in (
            (unit.socket, "hosthold@.socket", bool(texts.socket)),
            (unit.service, "hosthold@.service", not sleeps),
        ):
            if is_wanted:
                _link(wants / wanted, DIRECTORY / template)
            else:
                (wants / wanted).unlink(missing_ok=True)

    def write_command(self, name: str, command: str) -> None:
        """What the next start of the program will run."""
        if _read(self._commands / name) != command:
            _write(self._commands / name, command, 0o600)

    def has_changed_limits(self, name: str) -> bool:
        """Whether systemd keeps limits of the service that were changed while it ran."""
        return (RUNTIME / f"{Units.of(name).slice}.d").exists()

    def prepare_successor(self, name: str) -> None:
        """Let the successor be as the service is."""
        unit = Units.of(name)
        _link(DIRECTORY / f"{unit.successor}.d", DIRECTORY / f"{unit.service}.d")

    def remove(self, name: str) -> None:
        """Remove all that is written for the service; by its command it is found again if this is cut off."""
        unit = Units.of(name)
        for wanted in (unit.socket, unit.service):
            (DIRECTORY / f"{TARGET}.wants" / wanted).unlink(missing_ok=True)
        (DIRECTORY / f"{unit.successor}.d").unlink(missing_ok=True)
        for drop_ins in (DIRECTORY / f"{unit.socket}.d", DIRECTORY / f"{unit.service}.d"):
            shutil.rmtree(drop_ins, ignore_errors=True)
        (DIRECTORY / unit.slice).unlink(missing_ok=True)
        (self._commands / name).unlink(missing_ok=True)

    def _unit_paths(self, name: str) -> tuple[Path, Path, Path]:
        unit = Units.of(name)
        return (
            DIRECTORY / f"{unit.socket}.d" / _DROP_IN,
            DIRECTORY / f"{unit.service}.d" / _DROP_IN,
            DIRECTORY / unit.slice,
        )


def _read(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text("utf-8")
    return ""


def _write(path: Path, text: str, mode: int) -> None:
    """Old or new, never less, whenever the power fails."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with temporary.open("x", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)
