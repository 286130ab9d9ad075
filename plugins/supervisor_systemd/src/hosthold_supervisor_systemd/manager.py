"""Talking to systemd over the system bus: jobs of units, their states and properties (org.freedesktop.systemd1(5))."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from hosthold_sdk import NotInstalled, Unavailable
from jeepney import DBusAddress, MatchRule, Message, Properties, message_bus, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.wrappers import DBusErrorResponse, unwrap_msg

_BUS = "org.freedesktop.systemd1"
_MANAGER = DBusAddress("/org/freedesktop/systemd1", _BUS, f"{_BUS}.Manager")
_REMOVED = MatchRule(type="signal", interface=f"{_BUS}.Manager", member="JobRemoved", path=_MANAGER.object_path)
_CALL_SECONDS = 60.0
"""A manager with thousands of units is silent while it reads all of them again."""
_GONE = {f"{_BUS}.NoSuchUnit", f"{_BUS}.UnitNotLoaded", f"{_BUS}.NoSuchProcess"}


class UnitState(NamedTuple):
    """What systemd says of one unit that it has loaded."""

    name: str
    active: str
    """`active`, `activating`, `deactivating`, `inactive`, `failed`, ..."""
    sub: str
    path: str


class Manager:
    """One conversation; for one thread."""

    def __init__(self) -> None:
        self._connection: DBusConnection | None = None

    def version(self) -> int:
        """The number of systemd's release."""
        (kind_and_value,) = self._ask(Properties(_MANAGER).get("Version"))
        return int("".join(character for character in kind_and_value[1].split(".")[0] if character.isdigit())[:3])

    def reload(self) -> None:
        """Let systemd read all unit files again, which takes longer the more units there are."""
        self._call("Reload")

    def start(self, units: Iterable[str], seconds: float) -> dict[str, str]:
        """Start units and wait; how each job ended: `done`, `failed`, ... Raises `Unavailable` after the time."""
        return self._jobs("StartUnit", units, seconds)

    def stop(self, units: Iterable[str], seconds: float) -> None:
        """Stop units and wait; those that are not loaded need nothing."""
        self._jobs("StopUnit", units, seconds)

    def begin_start(self, unit: str) -> None:
        """Start the unit without waiting for it."""
        self._call("StartUnit", "ss", (unit, "replace"))

    def begin_stop(self, unit: str) -> None:
        """Stop the unit without waiting for it."""
        self._call("StopUnit", "ss", (unit, "replace"), may_fail=_GONE)

    def forget_failure(self, *units: str) -> None:
        """Let the units be as if they had never failed."""
        for unit in units:
            self._call("ResetFailedUnit", "s", (unit,), may_fail=_GONE)

    def send(self, unit: str, signal: int) -> None:
        """Send a signal to the unit's program itself."""
        self._call("KillUnit", "ssi", (unit, "main", signal), may_fail=_GONE)

    def set_limits(self, unit: str, properties: dict[str, tuple[str, int]]) -> None:
        """Change limits of a unit at once, until the machine is started again."""
        self._call("SetUnitProperties", "sba(sv)", (unit, True, list(properties.items())), may_fail=_GONE)

    def forget_limits(self, unit: str) -> None:
        """Forget limits that were changed while the unit ran."""
        self._call("RevertUnitFiles", "as", ([unit],), may_fail=_GONE)

    def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        """What becomes of each of these units; one that nobody has loaded is loaded for it."""
        return _states(self._call("ListUnitsByNames", "as", (list(names),)))

    def find(self, states: Iterable[str], patterns: Iterable[str]) -> dict[str, UnitState]:
        """The loaded units in one of the states whose names match one of the patterns."""
        return _states(self._call("ListUnitsByPatterns", "asas", (list(states), list(patterns))))

    def property(self, path: str, kind: str, name: str) -> Any:
        """A property of a unit, or of what is particular to its kind, such as `Service`."""
        address = DBusAddress(path, _BUS, f"{_BUS}.{kind}")
        (kind_and_value,) = self._ask(Properties(address).get(name))
        return kind_and_value[1]

    def close(self) -> None:
        """End the conversation; it begins anew with the next word."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _jobs(self, method: str, units: Iterable[str], seconds: float) -> dict[str, str]:
        removed: deque[Message] = deque()
        connection = self._opened()
        self._ask(message_bus.AddMatch(_REMOVED))
        try:
            with connection.filter(_REMOVED, queue=removed):
                asked: dict[str, str] = {}
                for unit in units:
                    answer = self._call(method, "ss", (unit, "replace"), may_fail=_GONE)
                    if answer:
                        asked[answer[0]] = unit
                return self._ended(connection, removed, asked, seconds)
        finally:
            self._ask(message_bus.RemoveMatch(_REMOVED))  # else the bus would keep every signal until the next word

    def _ended(
        self, connection: DBusConnection, removed: deque[Message], asked: dict[str, str], seconds: float
    ) -> dict[str, str]:
        """How the jobs that were asked for ended, once all have."""
        results: dict[str, str] = {}
        deadline = time.monotonic() + seconds
        while asked:
            try:
                message = connection.recv_until_filtered(removed, timeout=max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                names = ", ".join(sorted(asked.values())[:3])
                raise Unavailable(
                    f"systemd did not finish with {names} within {seconds:.0f} s.", hint="systemctl list-jobs"
                ) from None
            _, path, _, result = message.body
            unit = asked.pop(path, "")
            if unit:
                results[unit] = result
        return results

    def _call(
        self,
        method: str,
        signature: str | None = None,
        body: tuple[Any, ...] = (),
        may_fail: Iterable[str] = (),
    ) -> Any:
        try:
            return self._ask(new_method_call(_MANAGER, method, signature, body))
        except DBusErrorResponse as error:
            if error.name in may_fail:
                return ()
            words = str(error.data[0]) if error.data else error.name
            raise Unavailable(f"systemd refuses {method}: {words}", hint="journalctl -b -t systemd") from None

    def _ask(self, message: Message) -> Any:
        try:
            return unwrap_msg(self._opened().send_and_get_reply(message, timeout=_CALL_SECONDS))
        except (OSError, TimeoutError) as error:
            self.close()
            raise Unavailable(f"systemd does not answer: {error}", hint="systemctl status dbus") from None

    def _opened(self) -> DBusConnection:
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            try:
                self._connection = open_dbus_connection("SYSTEM")
                subscribe = new_method_call(_MANAGER, "Subscribe")
                unwrap_msg(self._connection.send_and_get_reply(subscribe, timeout=_CALL_SECONDS))
            except (OSError, TimeoutError, DBusErrorResponse) as error:
                self.close()
                raise NotInstalled(
                    f"systemd cannot be reached over the system bus: {error}", hint="apt-get install dbus"
                ) from None
        return self._connection


def _has_ended(connection: DBusConnection) -> bool:
    """Whether the bus closed the conversation, because it was started again."""
    try:
        return not connection.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _states(answer: Any) -> dict[str, UnitState]:
    (rows,) = answer
    return {row[0]: UnitState(row[0], row[3], row[4], row[6]) for row in rows}
