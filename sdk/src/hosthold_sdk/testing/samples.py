"""Sample values: complete and valid, so that a test states only what it is about."""

from __future__ import annotations

from hosthold.types.actor import Actor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.package import Limits
from hosthold.types.site import Runtime, Site
from hosthold.types.text import Domain, RelativePath, UnixName

_ACCOUNT = "0" * 31 + "1"


def sample_site(*domains: str) -> Site:
    """A PHP site with these domains; change other fields with `model_copy(update=...)`."""
    return Site(
        id="0" * 31 + "2",
        account_id=_ACCOUNT,
        name=UnixName("ssample"),
        uid=200_001,
        domains=tuple(Domain(domain) for domain in domains),
        runtime=Runtime(driver="php", version="8.2"),
        document_root=RelativePath("public"),
        limits=Limits(),
    )


def sample_node() -> Node:
    """A node that nobody started, on which each site has a Unix user of its own."""
    return Node(
        name="sample",
        layout=NodeLayout(state="/srv/state", run="/srv/run"),
        listen=Listen(port=8080),
        isolation=Isolation.unix_user,
        root=Owner(uid=0, gid=0),
        web=Owner(uid=33, gid=33),
        web_user="www-data",
    )


def sample_actor(label: str, *permissions: str) -> Actor:
    """Someone who acts with these permissions in an account that sample sites belong to."""
    return Actor(label=label, account_id=_ACCOUNT, account_path=f"{_ACCOUNT}/", permissions=frozenset(permissions))
