"""The systemd supervisor does what the node relies on, under a systemd that runs as a machine's first process."""

from __future__ import annotations

import sys

import pytest

from tests.systemd.machine import ROOT, Machine

pytestmark = pytest.mark.root


def test_systemd_supervisor_does_what_every_supervisor_must(machine: Machine) -> None:
    machine.boot()
    inside = ROOT / "tests" / "systemd" / "inside.py"
    output = machine.run(
        sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c",
        str(ROOT / "pyproject.toml"), "--tb=short", str(inside), seconds=300,
    )  # fmt: skip
    assert " passed" in output
    assert "skipped" not in output
    assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    machine.power_off()
