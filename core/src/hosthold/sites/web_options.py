"""What a site sets of its web server: shown without hashes of passwords, replaced as a whole."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from hosthold.auth.sha512_crypt import LONGEST, sha512_crypt
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import FieldError, InvalidInput
from hosthold.sites.models import SiteRow
from hosthold.sites.service import declare_web, editable, get
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.web import BasicAuth, BasicAuthUser, Header, PathRule, Proxy, Redirect, UrlPath, WebOptions


class BasicAuthUserDraft(Frozen):
    """Somebody who may pass. Without a password the one that they have at this path stays."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    password: Annotated[str, StringConstraints(min_length=8, max_length=LONGEST)] | None = Field(
        default=None, json_schema_extra={"writeOnly": True}
    )


class BasicAuthDraft(Frozen):
    """Asks for a name and a password (RFC 7617) at a path and everything below it."""

    path: UrlPath = UrlPath("/")
    realm: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ._-]{1,64}$")] = "Restricted"
    users: Annotated[tuple[BasicAuthUserDraft, ...], Field(min_length=1, max_length=100)]


class WebDraft(Frozen):
    """All that a site sets of its web server; what is left out is not set."""

    redirects: Annotated[tuple[Redirect, ...], Field(max_length=200)] = ()
    headers: Annotated[tuple[Header, ...], Field(max_length=50)] = ()
    basic_auth: Annotated[tuple[BasicAuthDraft, ...], Field(max_length=20)] = ()
    rules: Annotated[tuple[PathRule, ...], Field(max_length=100)] = ()
    proxies: Annotated[tuple[Proxy, ...], Field(max_length=20)] = ()


class BasicAuthView(Frozen):
    """A place that asks for a password, and who may pass."""

    path: UrlPath
    realm: str
    users: tuple[str, ...]


class WebView(Frozen):
    """What a site sets of its web server. A site that sets nothing shares the server's block with all such sites."""

    generation: int
    redirects: tuple[Redirect, ...]
    headers: tuple[Header, ...]
    basic_auth: tuple[BasicAuthView, ...]
    rules: tuple[PathRule, ...]
    proxies: tuple[Proxy, ...]

    @classmethod
    def of(cls, row: SiteRow) -> WebView:
        """The view of a row."""
        web = WebOptions.model_validate(row.web)
        return cls(
            generation=row.generation,
            redirects=web.redirects,
            headers=web.headers,
            basic_auth=tuple(
                BasicAuthView(path=place.path, realm=place.realm, users=tuple(user.name for user in place.users))
                for place in web.basic_auth
            ),
            rules=web.rules,
            proxies=web.proxies,
        )


def read(uow: UnitOfWork, actor: Actor, site_id: str) -> WebView:
    """The site's options; raises `NotFound` as `get` does."""
    return WebView.of(get(uow, actor, site_id))


def replace(uow: UnitOfWork, actor: Actor, site_id: str, draft: WebDraft, if_generation: int | None) -> WebView:
    """Set exactly these options. Raises like `change`, and `InvalidInput` for a new user without a password."""
    row = editable(uow, actor, site_id, if_generation)
    before = WebOptions.model_validate(row.web)
    try:
        web = WebOptions(
            redirects=draft.redirects, headers=draft.headers, rules=draft.rules, proxies=draft.proxies,
            basic_auth=_hashed(draft, before),
        )  # fmt: skip
    except ValidationError as error:
        reasons = [FieldError("/" + "/".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise InvalidInput("The options were not changed.", reasons) from None
    declare_web(uow, actor, row, web)
    return WebView.of(row)


def _hashed(draft: WebDraft, before: WebOptions) -> tuple[BasicAuth, ...]:
    known = {(place.path, user.name): user.password_hash for place in before.basic_auth for user in place.users}
    errors: list[FieldError] = []

    def user_of(place: int, number: int) -> dict[str, Any]:
        user = draft.basic_auth[place].users[number]
        pointer = f"/basic_auth/{place}/users/{number}/password"
        if user.password is not None:
            try:
                return {"name": user.name, "password_hash": sha512_crypt(user.password)}
            except ValueError as error:
                errors.append(FieldError(pointer, str(error)))
        elif (draft.basic_auth[place].path, user.name) not in known:
            errors.append(FieldError(pointer, f"{user.name} is new at {draft.basic_auth[place].path} and needs one."))
        else:
            return {"name": user.name, "password_hash": known[draft.basic_auth[place].path, user.name]}
        return {}

    users = [
        [user_of(place, number) for number in range(len(each.users))] for place, each in enumerate(draft.basic_auth)
    ]
    if errors:
        raise InvalidInput("The options were not changed.", errors)
    return tuple(
        BasicAuth(path=each.path, realm=each.realm, users=tuple(BasicAuthUser(**user) for user in some))
        for each, some in zip(draft.basic_auth, users, strict=True)
    )
