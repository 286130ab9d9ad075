"""docs/operations/settings.md names every key with its default, and no other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "operations" / "settings.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| .+ \|$", DOCUMENT, re.MULTILINE))
PLATFORM = {key: shown for key, shown in ROWS.items() if not key.startswith("drivers.")}
DRIVERS = {key: shown for key, shown in ROWS.items() if key.startswith("drivers.")}
SECTIONS = ("web", "database", "queue", "node", "names", "drift")


def defaults(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True, validated_data={})
        if not prefix and name in SECTIONS:
            yield from defaults(type(value), f"{name}.")
        else:
            yield prefix + name, None if value is PydanticUndefined else value


def plain(value: Any) -> Any:
    """The value as TOML has it."""
    return (
        value.model_dump(exclude_none=True)
        if isinstance(value, BaseModel)
        else list(value)
        if isinstance(value, tuple)
        else value
    )


def as_shown(shown: str) -> Any:
    return None if shown.startswith("(") else tomllib.loads(f"value = {shown.strip('`')}")["value"]


def test_platform_keys_and_defaults_are_those_of_the_code() -> None:
    assert {key: as_shown(shown) for key, shown in PLATFORM.items()} == {
        key: plain(value) for key, value in defaults(Settings)
    }


def test_driver_keys_and_defaults_are_those_of_the_code(registry: PluginRegistry) -> None:
    drivers = [
        (record.kind.removeprefix("driver:"), record.name)
        for record in registry.records
        if record.kind.startswith("driver:")
    ]
    found = {
        f"drivers.{kind}.{name}.{key}": plain(value)
        for kind, name in drivers
        for key, value in defaults(type(registry.driver(kind, name).settings))
    }
    assert {key: as_shown(shown) for key, shown in DRIVERS.items()} == found


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
def test_example_is_accepted(block: str) -> None:
    assert Settings(**tomllib.loads(block)).model_fields_set
