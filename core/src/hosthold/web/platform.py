"""What one running platform is made of, as the web layer uses it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hosthold.auth.throttle import SignInThrottle
from hosthold.db.unit_of_work import Bell, Database
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from hosthold.web.authentication import Authenticator
from hosthold.web.events import EventFeed
from hosthold.web.execution import Execution
from hosthold.web.metrics import Metrics


@dataclass
class Platform:
    """The parts of one platform in one process; two of them share nothing."""

    settings: Settings
    registry: PluginRegistry
    database: Database
    bell: Bell
    throttle: SignInThrottle = field(default_factory=SignInThrottle)

    def __post_init__(self) -> None:
        self.execution = Execution(self.database)
        self.authenticator = Authenticator(self.settings, self.execution, self.database.clock)
        self.feed = EventFeed(self.execution, self.database.dialect)
        self.metrics = Metrics()

    def close(self) -> None:
        """Let running work finish, and close all connections."""
        self.execution.close()
        self.database.close()
