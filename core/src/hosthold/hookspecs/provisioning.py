"""Hooks around the life of a site."""

from __future__ import annotations

from collections.abc import Sequence

from hosthold.hookspecs.markers import hookspec
from hosthold.types.actor import Actor
from hosthold.types.event import Event
from hosthold.types.node import Node
from hosthold.types.resource import Resource
from hosthold.types.site import Condition, Site


@hookspec
def check_site(site: Site, actor: Actor) -> None:
    """Object to a site that is about to be declared or changed.

    Return nothing to agree. Raise `Rejected("reason", hint="what to do")` to refuse: the request ends with that
    reason, and nothing is stored. Any other exception counts as a refusal too. Runs inside the request: be quick,
    and call nothing over the network.
    """


@hookspec
def contribute_site(site: Site, node: Node) -> Sequence[Resource]:  # type: ignore[empty-body]
    """Add resources to a site's desired state.

    Return a sequence of resources, possibly empty. They are merged after the core's, plugins in the order of their
    names; a resource with a key that exists already is an error of the plugin. Must be pure: the same site and node
    give the same resources, or the site never comes to rest.
    """


@hookspec
def on_site_ready(site: Site, event: Event) -> None:
    """Hear that a site now is as declared: after its creation and after every change.

    Return nothing. Delivered at least once, after commit, to each plugin separately; an exception is retried with
    growing pauses and never hides the event from another plugin.
    """


@hookspec
def on_site_failed(site: Site, condition: Condition, event: Event) -> None:
    """Hear that a site could not be brought to its declared state; what served before still serves.

    Return nothing. Delivered like `on_site_ready`, once each time the reason changes.
    """


@hookspec
def on_site_deleted(site: Site, event: Event) -> None:
    """Hear that nothing of a site is left on its node. Return nothing. Delivered like `on_site_ready`."""
