"""Documents tell the truth: their links lead somewhere, their commands and options exist, their code loads.

The tutorial and the examples of the API are run by tests of their own.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from hosthold.cli.main import main
from hosthold_sdk.cli import main as sdk_main

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("core", "sdk", "plugins", "examples", "docs")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
RUN_ELSEWHERE = {"docs/tutorial.md", "docs/api.md", "examples/hello_plugin/README.md"}
OURS = {"hosthold": main, "hosthold-sdk": sdk_main}
PROGRAMS = {
    "apt-get", "cd", "curl", "git", "install", "ln", "python", "python3", "systemctl", "systemd-sysusers",
    "systemd-tmpfiles", "uv",
}  # fmt: skip
"""What a reader has, or is told to install, besides what is ours."""


class Block(NamedTuple):
    """A fenced block of a document."""

    document: str
    language: str
    text: str


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        if name(document) not in RUN_ELSEWHERE:
            found = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
            yield from (Block(name(document), language, text) for language, text in found)


def of(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


def commands() -> list[tuple[str, list[str]]]:
    """Every command line of a shell block."""
    lines = [(block.document, line) for block in of("sh", "console") for line in block.text.splitlines() if line]
    return [(document, shlex.split(line.removeprefix("$ "), comments=True)) for document, line in lines]


def mentions() -> list[tuple[str, list[str]]]:
    """Every command of ours that a text mentions."""
    return [
        (name(document), [word for word in shlex.split(mentioned) if word != "..."])
        for document in DOCUMENTS
        for mentioned in re.findall(r"`(hosthold [a-z][^`]*)`", document.read_text())
    ]


def check_options(command: click.Command, words: list[str]) -> None:
    """Raises `click.UsageError` unless the command knows these words, the first of which is its name."""
    context = click.Context(command, info_name=words[0])
    if isinstance(command, click.Group):
        _, rest, _ = command.make_parser(context).parse_args(words[1:])
        if rest:
            found = command.get_command(context, rest[0])
            assert found is not None, f"{words[0]} has no command {rest[0]}"
            check_options(found, rest)
    else:
        command.parse_args(context, words[1:])


@pytest.mark.parametrize("block", of("sh", "console"), ids=lambda block: block.document)
def test_shell_block_parses(block: Block) -> None:
    script = re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE)
    done = subprocess.run(
        ["/bin/sh", "-n"], input=script, env={}, capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("document", "words"), commands())
def test_command_exists_and_knows_its_options(document: str, words: list[str]) -> None:
    if words[0] == "runuser":
        words = words[words.index("--") + 1 :]
    program = words[0]
    assert all(list(ROOT.glob(word)) for word in words if word.startswith("deploy/")), document
    if program in OURS:
        check_options(OURS[program], words)
    elif program.startswith("scripts/"):
        assert (ROOT / program).is_file()
    else:
        assert program in PROGRAMS or program.startswith("/opt/hosthold/bin/"), document


@pytest.mark.parametrize(("document", "words"), mentions())
def test_mentioned_command_exists_and_knows_its_options(document: str, words: list[str]) -> None:
    with suppress(click.MissingParameter):  # a mention need not be complete
        check_options(main, words)


def test_packages_that_the_guide_installs_are_those_that_the_scripts_install() -> None:
    installed = {word for _, words in commands() if words[:2] == ["apt-get", "install"] for word in words[2:]}
    scripts = (ROOT / "scripts/test").read_text() + (ROOT / "scripts/demo").read_text()
    packages = {word for line in scripts.splitlines() if line.startswith("scripts/packages") for word in line.split()}
    assert {word for word in installed if not word.startswith("-")} <= packages


@pytest.mark.parametrize("block", of("toml"), ids=lambda block: block.document)
def test_toml_block_loads(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.document)
def test_python_block_compiles_and_imports_what_exists(block: Block) -> None:
    tree = ast.parse(block.text)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec(compile(ast.Module(body=list(imports), type_ignores=[]), block.document, "exec"), {})  # noqa: S102


def test_blocks_are_of_languages_that_are_checked() -> None:
    known = {"sh", "console", "toml", "python", "text", ""}
    assert [block for block in blocks() if block.language not in known] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    targets = re.findall(
        r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"^(`{3,}).*?^\1$", "", document.read_text(), flags=re.M | re.S)
    )
    local = [target for target in targets if "://" not in target and not target.startswith("/")]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_every_decision_has_its_parts_and_is_listed() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (ROOT / "docs/decisions/README.md").read_text(), re.MULTILINE)
    assert listed == [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in decisions]
    parts = ["Context", "Decision", "Measurement", "Consequences"]
    assert [path.name for path in decisions if re.findall(r"^\*\*(\w+)\.\*\*", path.read_text(), re.M) != parts] == []


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if "docs" in path.parts], ids=name)
def test_files_that_a_text_names_exist(document: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", document.read_text())
    places = (ROOT, ROOT / "core/src/hosthold")
    assert [path for path in named if not any((place / path).is_file() for place in places)] == []
