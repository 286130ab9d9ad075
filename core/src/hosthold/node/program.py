"""One running process of a service, and what is remembered of those that failed."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from hosthold.drivers.base import DriverSettings
from hosthold.errors import Unavailable
from hosthold.node import process
from hosthold.node.probe import names_a_cause, shortened
from hosthold.node.settling import settles
from hosthold.types.resource import Service

LONGEST_PAUSE = 30.0
_HEALTHY_SECONDS = 60.0


class ProcessSettings(DriverSettings):
    """How patient the process supervisor is, in seconds."""

    settle: float = 3.0
    """A service counts as started when it has lived so long, if nothing shows it before."""
    quiet: float = 0.015
    """A service with a socket counts as started when it has waited for work so long."""
    stop: float = 10.0
    """How long a service may take to end in good order before it is killed."""


@dataclass
class Program:
    """A process, known by a descriptor that cannot come to mean another process."""

    service: Service
    pid: int
    pidfd: int
    output: process.Output | None = None
    started: float = field(default_factory=time.monotonic)
    idle_since: float | None = None
    is_leaving: bool = False
    """Whether it was told to end because it had nothing to do."""

    @classmethod
    def start(cls, service: Service, marks: dict[str, str], folder: str, listener: socket.socket | None) -> Program:
        """A new process of the service; `folder` is where it works and where its output goes, if it has no log.

        Raises `OSError`.
        """
        output = process.open_output(service.log or f"{folder}/output", service.owner)
        try:
            pid = process.spawn(service, marks, folder, output.descriptor, listener)
            return cls(service, pid, os.pidfd_open(pid), output)
        except BaseException:
            os.close(output.descriptor)
            raise

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return process.has_ended(self.pidfd)

    @property
    def last_words(self) -> str:
        """What it said at last; nothing is known of one that an earlier node started."""
        return shortened("" if self.output is None else self.output.text())

    def send(self, name: str) -> None:
        """Send the signal of this name; one that has ended needs none."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.Signals[f"SIG{name}"])

    def signal_reload(self) -> str | tuple[str, ...] | None:
        """Send the signal to read its configuration again, if it has one; returns that, or its command, or neither."""
        if isinstance(self.service.reload, str):
            self.send(self.service.reload)
        return self.service.reload

    def leave(self) -> None:
        """Tell it to end in good order, because it has nothing to do."""
        self.is_leaving = True
        self.send(self.service.stop)

    def is_idle(self, seconds: float) -> bool:
        """Whether it has had no child for so long, as far as was seen whenever this was asked."""
        if process.children_of(self.pid):
            self.idle_since = None
            return False
        if self.idle_since is None:
            self.idle_since = time.monotonic()
        return time.monotonic() - self.idle_since >= seconds

    def await_start(self, settle: float, quiet: float) -> None:
        """Return once it waits for work, or has lived for `settle` seconds.

        Raises `Unavailable` with its last words if it ends before that.
        """
        is_well = settles(
            self.pid,
            self.pidfd,
            has_socket=self.service.socket is not None,
            settle=settle,
            quiet=quiet,
            complains=lambda: self.output is not None and names_a_cause(self.output.text()),
        )
        if not is_well:
            raise Unavailable(self.last_words, hint="The message is the program's own; mend what it names.")

    def end(self, seconds: float) -> None:
        """End it in good order, or after this time at once, and whatever it left behind in its session."""
        self.send(self.service.stop)
        if not process.has_ended(self.pidfd, seconds):
            self.send("KILL")
            process.has_ended(self.pidfd, seconds)
        process.kill_session(self.pid)
        process.reap(self.pid)

    def let_go(self) -> None:
        """Close its descriptors, whose numbers may mean others then: nobody may find it any more. It is not ended."""
        os.close(self.pidfd)
        if self.output is not None:
            os.close(self.output.descriptor)


class Failures:
    """Services whose programs ended by themselves: how often, with which last words, and when they are due again."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._due: dict[str, float] = {}

    def note(self, name: str, lived: float, words: str) -> float:
        """Remember one more; the seconds until it should be tried again, which grow from one to the next."""
        self._counts[name] = 1 if lived > _HEALTHY_SECONDS else min(self._counts.get(name, 0) + 1, 16)
        self.words[name] = words
        return min(0.1 * 2.0 ** self._counts[name], LONGEST_PAUSE)

    def hold(self, name: str, seconds: float) -> None:
        """Do not wake the service for so long."""
        self._due[name] = time.monotonic() + seconds

    def is_held(self, name: str) -> bool:
        """Whether the service is not to be woken now."""
        return time.monotonic() < self._due.get(name, 0.0)

    def forget(self, name: str) -> None:
        """The service works, is declared anew, or is gone."""
        self.words.pop(name, None)
        self._counts.pop(name, None)
        self._due.pop(name, None)


def not_started(error: OSError) -> Unavailable:
    """What the operating system said about a program that could not be started, as an error."""
    return Unavailable(f"It cannot be started: {error}", hint="Look at the paths that it names.")


def not_done(name: str, error: OSError) -> Unavailable:
    """What the operating system refused while something was done with a service, as an error."""
    return Unavailable(
        f"The node cannot do what {name} needs: {error}", hint="Look whether its disk is full or fails, and try again."
    )
