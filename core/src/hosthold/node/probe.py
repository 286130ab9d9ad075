"""Asking the servers themselves: their own test of a configuration, and requests that show what is served."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import BinaryIO

from hosthold.errors import Unavailable
from hosthold.node.failure import NodeFailure
from hosthold.types.node import Listen
from hosthold.types.resource import Probe

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_CHECK_SECONDS = 30.0
_PROBE_SECONDS = 5.0
_REQUEST_SECONDS = 3.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_CAUSE = re.compile(r"\b(emerg|alert|crit|error|fatal|failed)\b", re.IGNORECASE)
_PLAIN = re.compile(r"[!-~]+")
_TIME = re.compile(r"^(\[?\d[\d/A-Za-z:. -]{6,}\]?\s+)?(\w+: )?(?=\S)")


def shortened(output: str) -> str:
    """The line of a program's output that names the cause, without its time stamp; at most 400 characters."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line for line in lines if _CAUSE.search(line)] or lines[-1:]
    return _TIME.sub("", causes[0], count=1)[:400] if causes else "it said nothing"


def names_a_cause(output: str) -> bool:
    """Whether a program's output says that something is wrong, rather than only strange."""
    return _CAUSE.search(output) is not None


def said_by(command: tuple[str, ...]) -> str:
    """The first line that a program says, such as its version; nothing if it cannot be run."""
    try:
        result = subprocess.run(
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.decode("utf-8", "replace").partition("\n")[0].strip()


def run_reload(command: tuple[str, ...]) -> None:
    """Run the command that makes a service read its configuration again; raises `Unavailable` with its words."""
    hint = "The message is the program's own; mend what it names."
    try:
        result = _run(command)
    except OSError as error:
        raise Unavailable(f"It cannot be told to reload: {error}", hint="Look at the paths that it names.") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"It did not reload within {_CHECK_SECONDS:.0f} s.", hint="Look at the node's load."
        ) from None
    if result.returncode != 0:
        raise Unavailable(shortened(result.stdout.decode("utf-8", "replace")), hint=hint)


def run_check(name: str, command: tuple[str, ...]) -> None:
    """Run a server's own test of its configuration; raises `NodeFailure` (`CheckFailed`) with the server's words."""
    try:
        result = _run(command)
    except FileNotFoundError:
        raise NodeFailure(
            "RuntimeMissing", f"{command[0]} is not installed on this node.", "Install it.", is_permanent=True
        ) from None
    except subprocess.TimeoutExpired:
        raise NodeFailure(
            "CheckFailed",
            f"{name}: the test of the configuration did not end within {_CHECK_SECONDS:.0f} s.",
            "Look at the node's load; it is tried again by itself.",
        ) from None
    if result.returncode != 0:
        raise NodeFailure(
            "CheckFailed",
            f"{name}: {shortened(result.stdout.decode('utf-8', 'replace'))}",
            "The server refuses this configuration; everything was left as it was.",
            is_permanent=True,
        )


def _run(command: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_CHECK_SECONDS,
        check=False,
    )


class Prober:
    """Asks the node's web server, over one connection for as long as the server keeps it open."""

    def __init__(self, listen: Listen) -> None:
        address = listen.address.strip("[]")
        self._address = (_EVERY_ADDRESS.get(address, address), listen.port)
        self._connection = http.client.HTTPConnection(*self._address, timeout=_REQUEST_SECONDS)

    def served(self, wanted: Sequence[Probe]) -> list[bool]:
        """Which of these are answered as wanted at once.

        All are asked before the first answer is read (RFC 9112, 9.3.2), so that many cost little more than one. Nothing
        is known yet of those that are not: ask them by `probe`.
        """
        found = [False] * len(wanted)
        asked = [place for place, each in enumerate(wanted) if _PLAIN.fullmatch(each.host + each.path)]
        requests = (f"GET {wanted[place].path} HTTP/1.1\r\nHost: {wanted[place].host}\r\n\r\n" for place in asked)
        try:
            with socket.create_connection(self._address, _REQUEST_SECONDS) as connection:
                connection.sendall("".join(requests).encode())
                with connection.makefile("rb") as answers:
                    for place in asked:
                        found[place] = _next_status(answers) in wanted[place].status
        except (OSError, ValueError):
            pass  # those without an answer are asked again, one by one
        return found

    def probe(self, wanted: Probe, give_up: Callable[[], None]) -> None:
        """Ask until the answer counts as served; raises `NodeFailure` (`ProbeFailed`) if it does not for some seconds.

        After each other answer `give_up` is called, which raises what it knows to be the reason.
        """
        deadline, pause = time.monotonic() + _PROBE_SECONDS, 0.01
        while True:
            found = self._answer(wanted)
            if found in wanted.status:
                return
            give_up()
            if time.monotonic() + pause > deadline:
                expected = " or ".join(map(str, wanted.status))
                raise NodeFailure(
                    "ProbeFailed",
                    f"http://{wanted.host}{wanted.path} answers {found}, expected {expected}.",
                    "Look at the logs of the site and of the web server; everything was left as it was.",
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.25)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _answer(self, wanted: Probe) -> int | str:
        try:
            self._connection.request("GET", wanted.path, headers={"Host": wanted.host})
            answer = self._connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request opens another one
            return str(error) or type(error).__name__


def _next_status(answers: BinaryIO) -> int:
    """The status of the next answer, whose body is skipped; raises `ValueError` if its end cannot be told."""
    status = int(answers.readline()[9:12])
    headers = {}
    while line := answers.readline().strip():
        name, _, value = line.partition(b":")
        headers[name.lower()] = value
    answers.read(int(headers.get(b"content-length", b"0" if status in (204, 304) else b"unknown")))
    return status
