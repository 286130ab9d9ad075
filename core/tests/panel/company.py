"""A small hosting company in a real application, and visitors who read its pages like a browser without JavaScript."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from hosthold.accounts import service as accounts
from hosthold.app import build_app
from hosthold.auth import service as auth
from hosthold.nodes import service as nodes
from hosthold.packages import service as packages
from hosthold.sites import service as sites
from hosthold.sites.models import SiteRow
from hosthold.types.actor import Actor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.text import AbsolutePath, Domain
from hosthold.web.application import Application
from hosthold.web.platform import Platform

ORIGIN = "http://127.0.0.1:8600"


class Page(HTMLParser):
    """An answer, read as HTML: its elements with their attributes, its visible text, and what its forms would send."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(convert_charrefs=True)
        self.response = response
        self.status = response.status_code
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.fields: dict[str, str] = {}
        self._open_field = ""
        self._select = ""
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        name = attributes.get("name", "")
        if tag == "input":
            self.fields[name] = attributes.get("value", "")
        elif tag == "textarea":
            self._open_field, self.fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.fields or "selected" in attributes):
            self.fields[self._select] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.fields[self._open_field] = self.fields[self._open_field].removeprefix("\n")
            self._open_field = ""

    def handle_data(self, data: str) -> None:
        if self._open_field:
            self.fields[self._open_field] += data
        self.text += data

    def links(self) -> set[str]:
        """Where the page leads, by link or form."""
        return {
            value for _, attributes in self.elements for name, value in attributes.items() if name in ("href", "action")
        }


@dataclass
class Visitor:
    """A browser without JavaScript: it keeps cookies and sends forms as they stand."""

    app: Application
    cookies: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; cookies are kept as a browser keeps them."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
                headers = {"Cookie": cookie} | options.pop("headers", {})
                return await client.request(method, path, headers=headers, **options)

        response = asyncio.run(send())
        for line in response.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return response

    def see(self, path: str) -> Page:
        """The page at a path."""
        return Page(self.request("GET", path))

    def send(self, path: str, form: dict[str, str]) -> Page:
        """The answer to a form, as it stands."""
        return Page(self.request("POST", path, data=form, headers={"Origin": ORIGIN}))

    def fill(self, path: str, target: str = "", **values: str) -> Page:
        """Open the page at a path, change some of its fields, and send its form there or to `target`."""
        shown = self.see(path)
        assert shown.status == 200, shown.text
        return self.send(
            target or path, {**shown.fields, **{name.replace("__", "."): value for name, value in values.items()}}
        )


@dataclass
class Company:
    """A provider with a package and two customers, and a node with two versions of PHP."""

    platform: Platform
    app: Application
    root: Actor
    package_id: str
    customer_id: str
    rival_id: str

    def visitor(self, role: str = "owner", account_id: str = "", email: str = "") -> Visitor:
        """Somebody who is signed in with a role in the provider's account, or in another."""
        visitor = Visitor(self.app)
        with self.platform.database.write() as uow:
            user = auth.create_user(uow, email or f"{role}-{account_id[-6:]}@example.com", None)
            auth.grant_role(uow, user.id, account_id or self.root.account_id, role)
            opened = auth.open_session(uow, user.id, None)
        visitor.cookies[self.platform.authenticator.cookie_name] = opened.secret
        return visitor

    def site(self, domain: str, account_id: str = "") -> SiteRow:
        """A declared site of the first customer, or of another account."""
        with self.platform.database.write() as uow:
            return sites.declare(
                uow, self.root, sites.SiteDraft(domain=Domain(domain), account_id=account_id or self.customer_id)
            )

    def edit(self, row: SiteRow, change: Callable[[SiteRow], None]) -> None:
        """Change a stored row behind everybody's back."""
        with self.platform.database.write() as uow:
            change(uow.session.get_one(SiteRow, row.id))


def make_company(platform: Platform) -> Company:
    """Store the company in a fresh database."""
    with platform.database.write() as uow:
        provider = accounts.create_provider(uow, "Example Hosting")
        root = Actor(label="root", account_id=provider.id, account_path=provider.path, permissions=frozenset({"*"}))
        package = packages.create(uow, root, packages.PackageDraft(name="Starter", max_sites=100))
        customer = accounts.create(uow, root, accounts.AccountDraft(name="Petra Lindqvist", package_id=package.id))
        rival = accounts.create(uow, root, accounts.AccountDraft(name="Other Customer", package_id=package.id))
        layout = NodeLayout(state=AbsolutePath("/srv/hosthold"), run=AbsolutePath("/run/hosthold"))
        web = Owner(uid=33, gid=33)
        node = Node(
            name="local", layout=layout, listen=Listen(port=8680), isolation=Isolation.unix_user,
            root=Owner(uid=0, gid=0), web=web, web_user="www-data",
        )  # fmt: skip
        row = nodes.register(uow, node, 200_000)
        row.facts, row.phase = {"php": ["8.4", "8.2"]}, "ready"
    return Company(platform, build_app(platform), root, package.id, customer.id, rival.id)
