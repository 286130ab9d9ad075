"""What is on its way out works, and points at the author's own line."""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path

import hosthold_sdk
import pytest
from hosthold_sdk.deprecation import Deprecated, deprecated_names


@pytest.fixture
def aging(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of which one name is deprecated, importable as `aging`."""
    module = types.ModuleType("aging")
    module.__path__ = []
    module.__dict__["New"] = dict
    module.__dict__["__getattr__"] = deprecated_names("aging", {"Old": Deprecated("New", "2.0")}, vars(module))
    monkeypatch.setitem(sys.modules, "aging", module)


@pytest.mark.usefixtures("aging")
@pytest.mark.parametrize("use", ["from aging import Old", "import aging; Old = aging.Old"])
def test_a_deprecated_name_works_and_the_warning_is_at_the_line_that_uses_it(tmp_path: Path, use: str) -> None:
    author = tmp_path / "author.py"
    author.write_text(f"import sys\n\n{use}\n")
    with pytest.warns(DeprecationWarning, match="aging.Old is called New now, and is gone in aging 2.0") as told:
        assert runpy.run_path(str(author))["Old"] is dict
    assert {(warning.filename, warning.lineno) for warning in told} == {(str(author), 3)}


def test_a_name_that_never_was_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        hosthold_sdk.Nonsense  # noqa: B018
