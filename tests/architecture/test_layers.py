"""Layers are kept by import-linter (`lint-imports`, run by scripts/check); here, that no module escapes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core" / "src" / "hosthold"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
LAYERED = {name for layer in CONTRACTS[0]["layers"] for name in re.findall(r"hosthold[.\w]*", layer)}
PARTS = sorted(f"hosthold.{path.stem}" for path in CORE.iterdir() if path.stem[0] not in "_." and path.stem != "py")


def modules_of(part: str) -> set[str]:
    """The part itself if it is a layer; else, as for a noun, its modules."""
    folder = CORE / part.removeprefix("hosthold.")
    if part in LAYERED or not folder.is_dir():
        return {part}
    return {f"{part}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("part", [part for part in PARTS if part != "hosthold.node"])
def test_every_module_of_the_core_has_a_layer(part: str) -> None:
    assert modules_of(part) <= LAYERED


def test_layers_name_only_what_exists() -> None:
    assert {name for part in PARTS if part != "hosthold.node" for name in modules_of(part)} >= LAYERED


def test_node_and_contract_may_import_nothing_above_them() -> None:
    contract, node = CONTRACTS[1], CONTRACTS[2]
    assert {*contract["source_modules"], *contract["forbidden_modules"]} == set(PARTS)
    assert {"hosthold.types", "hosthold.drivers", "hosthold.errors", *node["source_modules"]} == set(PARTS) - set(
        node["forbidden_modules"]
    )


def test_contracts_for_plugins_name_every_plugin_and_example() -> None:
    distributions = {path.name for folder in ("plugins", "examples") for path in (ROOT / folder).glob("*/src/*")}
    only_the_sdk, independent = CONTRACTS[4], CONTRACTS[5]
    assert set(only_the_sdk["source_modules"]) == distributions
    assert set(independent["modules"]) == distributions
