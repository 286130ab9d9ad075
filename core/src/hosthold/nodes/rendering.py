"""From a node to its own desired state: what its web server needs before it can take sites."""

from __future__ import annotations

from hosthold.drivers.webserver import WebServerDriver
from hosthold.plugins.calls import on_behalf_of
from hosthold.plugins.manager import PluginRegistry
from hosthold.types.node import Node
from hosthold.types.resource import Desired


def render_node(registry: PluginRegistry, node: Node, generation: int, fence: int) -> Desired:
    """The desired state of a node. Raises `DriverError` if its web server's driver cannot render it."""
    subject = f"node:{node.name}"
    with on_behalf_of(subject):
        driver = registry.driver("webserver", node.webserver)
        assert isinstance(driver, WebServerDriver)
        rendered = driver.render_node(node)
    return Desired(
        subject=subject,
        label=node.name,
        generation=generation,
        fence=fence,
        resources=rendered.resources,
        probes=rendered.probes,
    )
