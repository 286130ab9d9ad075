"""Which changes by hand may be kept as they are, and why the others may not."""

from __future__ import annotations

from hosthold.node.files import Observed
from hosthold.types.resource import Account, Directory, File, Link, Service

MOST_BYTES = 1_048_576
"""No declared file is larger."""
ACCOUNT_REFUSAL = "The account decides what the site's processes may do on the machine."


def refusal(resource: Account | Directory | File | Link | Service, before: Observed | None) -> str:
    """Why what is there now cannot be adopted; empty if it can.

    Only the content of a file can: a plain text that somebody looked at, with the owner and mode that were declared, so
    that nobody may read, write or run anything more than before.
    """
    if isinstance(resource, Account):
        return ACCOUNT_REFUSAL
    if before is None:
        return "It is missing, so there is nothing to keep. Change what is declared instead."
    if isinstance(resource, Link):
        return "Where a link leads decides whose files are served."
    if not isinstance(resource, File):
        return "Owner and mode decide who may read and write there."
    if (before.mode, before.owner) != (resource.mode, resource.owner):
        return "Its owner or mode was changed, which decides who may read and write it."
    if resource.is_secret:
        return "Its content is secret, so nobody can look at what would be kept."
    if len(before.body) > MOST_BYTES or not _is_text(before.body):
        return "It is no text, or too long to be looked at."
    return ""


def _is_text(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False
