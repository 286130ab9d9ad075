"""Events: what plugins are told after the fact."""

from __future__ import annotations

from datetime import datetime

from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier


class Event(Frozen):
    """What happened and when. `id` is the same in every delivery: a receiver that has seen it may ignore it."""

    id: Identifier
    at: datetime
