"""New plugins: a package that passes its conformance as it is written, and is changed from there."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hosthold_sdk import Rejected

_HERE = Path(__file__).parent
_FAKES = _HERE.parent / "testing" / "fakes"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class Kind:
    """What a kind of plugin consists of. `templates` are written as `<package>/<name>`.

    A driver starts as a copy of the fake of its kind: `fakes` are its files, `fake` is its class.
    """

    description: str
    templates: tuple[str, ...] = ()
    fakes: tuple[str, ...] = ()
    fake: str = ""
    driver: str = ""
    kit: str = ""
    declared: str = ""
    """What the test of the driver declares, as the fake cannot do everything."""


KINDS = {
    "hooks": Kind("a plugin that has something to say about sites", ("hooks.py", "settings.py")),
    "page": Kind("a plugin with a page of its own in the panel", ("pages.py", "templates/page.html")),
    "runtime": Kind(
        "a runtime driver: what runs the code of sites", fakes=("runtime.py", "responder.py"), fake="FakeRuntime",
        driver="Runtime", kit="RuntimeConformance",
    ),
    "supervisor": Kind(
        "a supervisor driver: what starts and watches services", fakes=("supervisor.py",), fake="FakeSupervisor",
        driver="Supervisor", kit="SupervisorConformance",
    ),
    "webserver": Kind(
        "a web-server driver: what serves sites over HTTP", fakes=("webserver.py", "server.py"), fake="FakeWebServer",
        driver="WebServer", kit="WebServerConformance",
        declared='unsupported = frozenset({"prefix redirects", "basic_auth", "rules", "proxies"})',
    ),
}  # fmt: skip
"""The kinds that can be made. Every kind of driver is among them, which a test demands."""


def new_plugin(kind: str, name: str, into: Path) -> Path:
    """Write the package of a new plugin to `into`/`name`, whole or not at all; its folder.

    Raises `Rejected` if there is no such kind, the name cannot be one, or the folder is there already.
    """
    if kind not in KINDS:
        raise Rejected(f"There is no kind {kind!r}.", hint=f"Choose one of {', '.join(KINDS)}.")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Rejected(
            f"{name!r} cannot be the name of a plugin.",
            hint="Use up to 31 lower-case letters, digits and underscores, a letter first, such as acme_dns.",
        )
    folder = into / name
    if folder.exists():
        raise Rejected(f"{folder} is there already; nothing was written.", hint="Choose another name or folder.")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".new-plugin-") as place:
        draft = Path(place) / name
        for path, text in _files(KINDS[kind], name):
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_text(text)
        shutil.move(draft, folder)
    return folder


def _files(kind: Kind, name: str) -> Iterator[tuple[str, str]]:
    values = _values(kind, name)
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), undefined=StrictUndefined, keep_trailing_newline=True,
        trim_blocks=True, autoescape=False, variable_start_string="[[", variable_end_string="]]",
        block_start_string="[%", block_end_string="%]",
    )  # fmt: skip
    package = f"src/hosthold_{name}"
    for path in ("pyproject.toml", "README.md", "CHANGELOG.md", "tests/test_conformance.py"):
        yield path, environment.get_template(f"{path}.jinja").render(values)
    for path in ("__init__.py", *kind.templates):
        yield f"{package}/{path}", environment.get_template(f"{path}.jinja").render(values)
    yield f"{package}/py.typed", ""
    for file in kind.fakes:
        target = "driver.py" if file == kind.fakes[0] else file
        yield f"{package}/{target}", _renamed((_FAKES / file).read_text(), kind, values)


def _values(kind: Kind, name: str) -> dict[str, object]:
    words = name.split("_")
    camel = "".join(word.capitalize() for word in words)
    return {
        "kind": kind,
        "name": name,
        "distribution": f"hosthold-{name.replace('_', '-')}",
        "service": name.replace("_", "-"),
        "camel": camel,
        "title": " ".join(words).capitalize(),
        "driver_class": camel if camel.lower().endswith(kind.driver.lower()) else f"{camel}{kind.driver}",
        "sdk": f">={'.'.join(version('hosthold-sdk').split('.')[:2])},<{_next_major()}",
    }


def _renamed(text: str, kind: Kind, values: dict[str, object]) -> str:
    """A fake's source as the beginning of a driver: under its new name."""
    text = text.replace(kind.fake, str(values["driver_class"])).replace("fake-", f"{values['service']}-")
    return text.replace("hosthold_sdk.testing.fakes", f"hosthold_{values['name']}")


def _next_major() -> int:
    return int(version("hosthold-sdk").split(".")[0]) + 1
