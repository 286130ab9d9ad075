"""This machine as a node: what its settings say, and the agent that acts on it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hosthold.drivers.runtime import RuntimeDriver
from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.drivers.webserver import WebServerDriver
from hosthold.errors import DriverError, Misconfigured
from hosthold.node.agent import NodeAgent
from hosthold.node.log_splitter import LogRotation, LogSplitter
from hosthold.node.policy import Policy
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from hosthold.types.node import Isolation, Node, NodeLayout, Owner
from hosthold.types.text import AbsolutePath


def local_node(settings: Settings) -> Node:
    """The node that this machine is. Raises `Misconfigured` if the web server's user does not exist."""
    state = settings.node.state or settings.state.child("node")
    layout = NodeLayout(state=state, run=settings.node.run or state.child("run"))
    if settings.node_isolation is Isolation.none:
        root = web = Owner(uid=os.geteuid(), gid=os.getegid())
        web_user = pwd.getpwuid(os.geteuid()).pw_name
    else:
        web_user = settings.node.web_user
        try:
            entry = pwd.getpwnam(web_user)
        except KeyError:
            raise Misconfigured(
                f"There is no user {web_user!r} for the web server.",
                hint="Install the web server (apt-get install nginx-light), or set node.web_user.",
            ) from None
        root, web = Owner(uid=0, gid=0), Owner(uid=entry.pw_uid, gid=entry.pw_gid)
    return Node(
        name=settings.node.name,
        layout=layout,
        listen=settings.node.listen,
        isolation=settings.node_isolation,
        root=root,
        web=web,
        web_user=web_user,
        webserver=settings.node.webserver,
    )


def local_agent(settings: Settings, registry: PluginRegistry) -> NodeAgent:
    """The agent of this machine's node, limited by this machine's settings and drivers alone."""
    node = local_node(settings)
    webserver = registry.driver("webserver", node.webserver)
    supervisor = registry.driver("supervisor", settings.node.supervisor)
    assert isinstance(webserver, WebServerDriver)
    assert isinstance(supervisor, SupervisorDriver)
    webserver.check()
    supervisor.check()
    has_accounts = node.isolation is Isolation.unix_user  # else there may be files of others, which only root may read
    accounts = Path(settings.node.accounts_directory if has_accounts else f"{node.layout.state}/accounts")
    policy = Policy(
        node=node, uid_first=settings.node.uid_first, uid_last=settings.node.uid_last,
        executables=frozenset().union(*(driver.executables() for driver in runtimes(registry).values())),
        own={resource.key: resource for resource in webserver.render_node(node).resources},
        block=webserver.render_block,
        checks={webserver.service(node).name: webserver.check_command(node)},
        accounts_directory=accounts,
    )  # fmt: skip
    logs = settings.node.logs
    rotation = LogRotation(max_bytes=logs.max_mb * 2**20, max_days=logs.max_days, max_files=logs.max_files)
    splitter = LogSplitter(node.layout, webserver.logs(node), rotation, webserver.log_fields)
    return NodeAgent(node, policy, supervisor, lambda: runtime_versions(registry), splitter)


def runtimes(registry: PluginRegistry) -> Mapping[str, RuntimeDriver[Any]]:
    """The runtime drivers that work on this machine, by name."""
    found: dict[str, RuntimeDriver[Any]] = {}
    for name in registry.drivers("runtime"):
        driver = registry.driver("runtime", name)
        assert isinstance(driver, RuntimeDriver)
        found[name] = driver
    return found


def runtime_versions(registry: PluginRegistry) -> dict[str, tuple[str, ...]]:
    """The versions that this machine has of each runtime, newest first."""
    versions = {}
    for name, driver in runtimes(registry).items():
        try:
            versions[name] = driver.versions()
        except DriverError:
            continue
    return {name: found for name, found in versions.items() if found}


def free_uid(accounts_directory: AbsolutePath, first: int) -> int:
    """Where a new platform's Unix numbers may begin: above every one that the machine's accounts files already hold.

    Groups count too: the node gives an account a group of its own number, and finds a number taken that either has.
    """
    used = [first - 1]
    for file in (Path(accounts_directory) / "passwd", Path(accounts_directory) / "group"):
        if file.is_file():
            used += [int(line.split(":")[2]) for line in file.read_text().splitlines() if line.count(":") >= 3]
    return max(used) + 1
