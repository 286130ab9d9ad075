"""The brake: what a live subject may never lose, whatever a driver or plugin rendered."""

from __future__ import annotations

from hosthold.errors import DriverError
from hosthold.types.resource import Desired, Resource


class Braked(DriverError):
    """A desired state was not sent, because it would remove what only a deletion may remove."""

    is_permanent = True
    reason = "Braked"


def brake(desired: Desired, essential: tuple[Resource, ...]) -> None:
    """See that a live subject's desired state holds its essential resources unchanged: its user, its home.

    Raises `Braked` otherwise; nothing was sent to the node then.
    """
    held = {resource.key: resource for resource in desired.resources}
    for resource in essential:
        if held.get(resource.key) != resource:
            raise Braked(
                f"The desired state of {desired.label} lacks {resource.key}, which only its deletion may remove. "
                "Nothing was changed.",
                hint="A driver or plugin is at fault: see `hosthold plugins`, and update it.",
            )
