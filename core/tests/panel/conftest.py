"""The small hosting company that the panel's tests visit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from hosthold.web.platform import Platform

from core.tests.panel.company import Company, make_company


@pytest.fixture
def company(sqlite_settings: Settings, registry: PluginRegistry, bell: Any) -> Iterator[Company]:
    """A company on SQLite. Its clock runs: sessions end by it."""
    database = Database(sqlite_settings, registry, bell)
    platform = Platform(sqlite_settings, registry, database, bell)
    yield make_company(platform)
    platform.close()
