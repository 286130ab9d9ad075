"""Why an order, or a subject of it, could not be served: one exception that carries the condition to report."""

from __future__ import annotations

import errno
import os
import sqlite3

from hosthold.errors import DriverError, HostholdError
from hosthold.types.site import Condition

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_FLUSHED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)


class NodeFailure(HostholdError):
    """Something could not be done; `subject` is whose fault it is, where that is known."""

    def __init__(
        self, reason: str, message: str, hint: str, *, is_permanent: bool = False, subject: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.condition = Condition(reason=reason, message=message, hint=hint, is_permanent=is_permanent)
        self.subject = subject


def refused(
    message: str,
    hint: str = "This is not an order that the platform sends: look at who signs orders.",
    *,
    is_permanent: bool = True,
) -> NodeFailure:
    """An order, or a subject in it, that breaks a rule of this node."""
    return NodeFailure("OrderRefused", message, hint, is_permanent=is_permanent)


def from_os_error(error: OSError, subject: str | None = None) -> NodeFailure:
    """What the operating system said, as a condition; a full disk is told from everything else."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return NodeFailure(
            "DiskFull",
            f"The disk of the node has no space or no inodes left{where}; nothing was changed.",
            "Free space or inodes on the node (df, df -i); it is tried again by itself.",
            subject=subject,
        )
    return NodeFailure(
        "NodeFailed",
        f"{error.strerror or error}{where}; nothing was changed.",
        "Look at the node's log and at the permissions of its folders; it is tried again by itself.",
        subject=subject,
    )


def from_database_error(error: sqlite3.Error) -> NodeFailure:
    """What the node's own database said, as a condition."""
    if getattr(error, "sqlite_errorcode", None) in _NOT_FLUSHED:
        return from_os_error(OSError(errno.EIO, os.strerror(errno.EIO), "node.db"))
    if "full" in str(error) or "disk I/O" in str(error):  # SQLite calls some of what a full disk does an I/O error
        return from_os_error(OSError(errno.ENOSPC, "No space left on device"))
    return NodeFailure(
        "NodeFailed", f"The node's own state cannot be written: {error}.", "Look at node.db in the node's state folder."
    )


def from_service(error: DriverError, name: str, subject: str | None) -> NodeFailure:
    """A service that did not start or reload; a port that somebody else holds is told from everything else."""
    if "address already in use" in error.detail.lower():
        return NodeFailure(
            "PortTaken",
            f"{name}: {error.detail}",
            "Another program listens there already: stop it, or let the node listen on another port.",
            subject=subject,
        )
    return NodeFailure(
        "ServiceFailed" if error.reason in ("Unavailable", "DriverFailed") else error.reason,
        f"{name}: {error.detail}",
        error.hint or "The message is the program's own; mend what it names.",
        is_permanent=error.is_permanent,
        subject=subject,
    )
