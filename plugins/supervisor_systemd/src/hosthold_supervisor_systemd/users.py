"""Whom the machine knows, as systemd finds them: all sources of nsswitch.conf are asked."""

from __future__ import annotations

import subprocess

from hosthold_sdk import Unavailable

_SECONDS = 10


def is_known(uid: int) -> bool:
    """Whether systemd can run a program as this user. By a program, for the node's own process asks fewer sources.

    Raises `Unavailable` if nobody can tell.
    """
    try:
        done = subprocess.run(
            ("/usr/bin/getent", "passwd", str(uid)),
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            f"whether the machine knows the user {uid} cannot be found out: {error}",
            hint=f"run `getent passwd {uid}`: a source that /etc/nsswitch.conf names may not answer",
        ) from error
    return done.returncode == 0
