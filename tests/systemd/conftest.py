"""A machine with a real systemd, for the tests of one module; skipped, with the reason, where none can be had."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, why_not


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="hosthold-machine-") as name:
        folder = Path(name, "layers")
        folder.mkdir()
        try:
            made = Machine(folder)
        except OSError as error:
            pytest.skip(f"needs a machine that may mount and start containers: {error}")
        try:
            yield made
        finally:
            made.close()
