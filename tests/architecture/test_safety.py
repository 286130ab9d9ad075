"""No shell, and no data that is code: what the source may not call, and the few modules that may start programs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = "core/src/hosthold"
SOURCES = sorted(
    source
    for pattern in ("core/src", "sdk/src", "plugins/*/src", "examples/*")
    for source in ROOT.glob(f"{pattern}/**/*.py")
    if "tests" not in source.relative_to(ROOT).parts
)

PROGRAMS = {
    f"{CORE}/cli/up.py": "starts the platform's own processes",
    f"{CORE}/node/probe.py": "runs the configuration tests of servers",
    f"{CORE}/node/log_splitter.py": "names the type of the program that it has started",
    f"{CORE}/node/process.py": "runs the services of sites",
    "examples/single_node/demo.py": "starts the platform",
    "plugins/supervisor_systemd/src/hosthold_supervisor_systemd/journal.py": "asks journald what a service said",
    "plugins/supervisor_systemd/src/hosthold_supervisor_systemd/users.py": "asks the machine whom it knows",
    "sdk/src/hosthold_sdk/testing/conformance/runtime.py": "asks as one site's user for what is another's",
    "sdk/src/hosthold_sdk/testing/conformance/supervisor_program.py": "starts a node that a test kills",
}
"""Who may start a program, and why."""
FORKS = {
    f"{CORE}/web/server.py": "more web processes share one socket",
    "sdk/src/hosthold_sdk/testing/fakes/responder.py": "answers each request in a process of its own, as php-fpm does",
}
_CADDY_LAUNCHER = "examples/webserver_caddy/src/hosthold_webserver_caddy/launcher.py"
BECOMES = {_CADDY_LAUNCHER: "becomes the server once the links of sites are closed off"}
"""Who may become another program, and why."""
SYSTEM_CALLS = {
    f"{CORE}/node/identity.py": "acts with the uid of a site, per thread",
    f"{CORE}/node/logs.py": "gives back the space of what it has read",
    f"{CORE}/node/nss.py": "lets the C library ask fewer sources for users",
    f"{CORE}/node/process.py": "takes a socket over from a process that still runs",
    _CADDY_LAUNCHER: "has the kernel follow no link of a site's",
}
"""Who may call the kernel past Python, and why."""

ALLOWED_IMPORTS = {"subprocess": set(PROGRAMS), "ctypes": set(SYSTEM_CALLS)}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "pty", "commands", "pexpect"}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
STARTS = ("system", "popen", "exec", "spawn", "posix_spawn", "fork")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]


def calls(tree: ast.AST) -> Iterator[tuple[str, set[str | None]]]:
    """Every call, as its dotted name and the names of its keyword arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg for keyword in node.keywords}


def violations(name: str, tree: ast.AST) -> list[str]:
    """What a file does that it may not."""
    found = [f"imports {module}" for module in imports(tree) if module in FORBIDDEN_IMPORTS]
    found += [
        f"imports {module}"
        for module in imports(tree)
        if module in ALLOWED_IMPORTS and name not in ALLOWED_IMPORTS[module]
    ]
    for called, keywords in calls(tree):
        module, _, function = called.rpartition(".")
        if called in FORBIDDEN_NAMES or called == "importlib.import_module":
            found.append(f"calls {called}")
        is_allowed = (function == "fork" and name in FORKS) or (function == "execv" and name in BECOMES)
        if module == "os" and function.startswith(STARTS) and not is_allowed:
            found.append(f"calls {called}")
        if "shell" in keywords:
            found.append(f"gives shell= to {called}")
        if called == "subprocess.run" and not {"env", "timeout"} <= keywords and name.startswith(CORE):
            found.append("runs a program without its own environment or without a time limit")
        if called == "from_string" or function == "from_string":
            found.append("makes a template from data")
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_s01_s08_source_starts_no_shell_and_runs_no_data(source: Path) -> None:
    assert violations(str(source.relative_to(ROOT)), ast.parse(source.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess",
        "from subprocess import run",
        "import pickle",
        "from yaml import load",
        "import os\nos.system('ls')",
        "import os\nos.execv('/bin/sh', [])",
        "import os\nos.fork()",
        "eval('1')",
        "exec('1')",
        "__import__('os')",
        "import importlib\nimportlib.import_module('os')",
        "anything.run('ls', shell=True)",
        "environment.from_string('{{ 1 }}')",
    ],
)
def test_s01_s08_gate_finds_what_it_is_there_for(text: str) -> None:
    assert violations(f"{CORE}/sites/service.py", ast.parse(text))


@pytest.mark.parametrize("name", sorted({*PROGRAMS, *FORKS, *BECOMES, *SYSTEM_CALLS}))
def test_s01_every_exception_is_still_needed(name: str) -> None:
    text = (ROOT / name).read_text()
    assert any(word in text for word in ("import subprocess", "os.fork(", "import ctypes"))
