"""From a site and its node to the desired state: the core's part, the drivers', and what plugins contribute."""

from __future__ import annotations

from collections.abc import Iterable

from hosthold.drivers.runtime import RuntimeDriver, RuntimeRendered
from hosthold.drivers.webserver import Rendered, WebServerDriver
from hosthold.errors import PluginError
from hosthold.plugins.calls import on_behalf_of
from hosthold.plugins.manager import PluginRegistry
from hosthold.reconcile.safety import brake
from hosthold.types.node import Isolation, Node
from hosthold.types.resource import Account, Desired, Directory, Quota, Resource
from hosthold.types.site import Site


def essential_resources(site: Site, node: Node) -> tuple[Resource, ...]:
    """What a site has whatever its drivers are, and loses only with its deletion: its user, its folder."""
    folder = Directory(path=node.layout.site(site.name), owner=node.root, mode=0o711)
    if node.isolation is Isolation.none:
        return (folder,)
    return Account(name=site.name, uid=site.uid, home=node.layout.home(site.name)), folder


def render_site(registry: PluginRegistry, site: Site, node: Node, fence: int) -> Desired:
    """The desired state of a live site. Raises `DriverError` or `PluginError` naming who cannot render it."""
    with on_behalf_of(f"site:{site.id}"):
        runtime_driver = registry.driver("runtime", site.runtime.driver)
        webserver_driver = registry.driver("webserver", node.webserver)
        assert isinstance(runtime_driver, RuntimeDriver)
        assert isinstance(webserver_driver, WebServerDriver)
        runtime = runtime_driver.render(site, node)
        served = webserver_driver.render_site(site, node, runtime.upstream)
    contributed = registry.contribute("contribute_site", site=site, node=node)
    return desired_site(site, node, fence, runtime, served, contributed)


def desired_site(
    site: Site,
    node: Node,
    fence: int,
    runtime: RuntimeRendered,
    served: Rendered,
    contributed: Iterable[tuple[str, Iterable[Resource]]],
) -> Desired:
    """The desired state of a live site, from what its drivers rendered and what plugins contributed, by plugin name.

    Raises `PluginError` naming who renders what is there already, or takes away what every site has.
    """
    essential = essential_resources(site, node)
    resources = _merged(
        [("the core", essential), (site.runtime.driver, runtime.resources), (node.webserver, served.resources)]
    )
    resources = tuple(_with_quota(resource, site, node) for resource in resources)
    desired = Desired(
        subject=f"site:{site.id}",
        label=site.domains[0],
        generation=site.generation,
        fence=fence,
        resources=_merged([("the drivers", resources), *contributed]),
        probes=served.probes,
        declared=site
        if any(resource.key.startswith(f"path:{node.layout.blocks}/") for resource in resources)
        else None,
    )
    brake(desired, essential)
    return desired


def _with_quota(resource: Resource, site: Site, node: Node) -> Resource:
    """The site's home with the limits of its package; only a user of its own can be counted."""
    if resource.key != f"path:{node.layout.home(site.name)}" or node.isolation is Isolation.none:
        return resource
    assert isinstance(resource, Directory)
    quota = Quota(project=site.uid, bytes=site.limits.disk_mb * 2**20, inodes=site.limits.inodes)
    return resource.model_copy(update={"quota": quota})


def render_removal(site: Site, fence: int) -> Desired:
    """The desired state of a site that shall be gone: nothing."""
    return Desired(subject=f"site:{site.id}", label=site.domains[0], generation=site.generation, fence=fence)


def _merged(parts: Iterable[tuple[str, Iterable[Resource]]]) -> tuple[Resource, ...]:
    resources: dict[str, Resource] = {}
    for source, contribution in parts:
        for resource in contribution:
            if resource.key in resources:
                raise PluginError(
                    f"{source} renders {resource.key}, which is there already. Nothing was changed.",
                    hint=f"Update or disable {source}; two cannot own the same thing.",
                )
            resources[resource.key] = resource
    return tuple(resources.values())
