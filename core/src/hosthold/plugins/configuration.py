"""Settings of plugins and drivers: parsed by the model that each declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hosthold.plugins.record import PluginState, Refusal

M = TypeVar("M", bound=BaseModel)


def parse_settings(model: type[M], values: Mapping[str, Any], table: str) -> M:
    """The settings of one plugin or driver.

    Raises `Refusal` naming each key that cannot be accepted, never its value: it may be a secret.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_problem(issue["type"], issue["loc"], issue["msg"]) for issue in error.errors())
        allowed = ", ".join(field.alias or name for name, field in model.model_fields.items()) or "none"
        raise Refusal(
            PluginState.misconfigured,
            f"The settings in [{table}] cannot be used: {problems}.",
            hint=f"Change them in hosthold.toml. Allowed keys in [{table}]: {allowed}.",
        ) from None


def _problem(kind: str, location: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in location) or "the table"
    match kind:
        case "extra_forbidden":
            return f"{key} is an unknown key"
        case "missing":
            return f"{key} is required"
        case _:
            return f"{key}: {message}"
