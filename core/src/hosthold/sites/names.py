"""Who may have which host name: uniqueness, names of other tenants, reserved names, public suffixes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList
from sqlalchemy import bindparam, select

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import Conflict, FieldError, InvalidInput
from hosthold.settings import Settings
from hosthold.sites.models import DomainNameRow
from hosthold.types.text import Domain

# Special-use names (IANA's registry, RFC 6761 and its followers): they mean something else everywhere, or nothing.
SPECIAL_USE = (
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "home.arpa",
    "internal",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "test",
    "example.com",
    "example.net",
    "example.org",
)
# Labels by which programs look for services of the whole domain above (WPAD, ISATAP, mail clients' autoconfiguration).
SPECIAL_LABELS = ("wpad", "isatap")


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=False)


def _lies_at_or_below(name: str, suffix: str) -> bool:
    return name == suffix or name.endswith("." + suffix)


def _panel(settings: Settings) -> tuple[str, ...]:
    """The panel's own host, unless sites are made below it, as below `localhost` on a test machine."""
    host = (urlsplit(settings.public_url).hostname or "").lower()
    return () if not host or host in settings.names.local_suffixes else (host,)


def reservation(name: Domain, settings: Settings) -> str | None:
    """Why no site may have this name (S-61), or `None` if one may."""
    for own in (*settings.names.reserved, *_panel(settings)):
        if _lies_at_or_below(name, own):
            return f"{own} belongs to the platform itself."
    if name.split(".")[0] in SPECIAL_LABELS:
        return f"Names that begin with {name.split('.')[0]!r} are looked up by programs for a whole domain."
    if any(_lies_at_or_below(name, local) and name != local for local in settings.names.local_suffixes):
        return None
    for special in SPECIAL_USE:
        if _lies_at_or_below(name, special):
            return f"Names at or below {special!r} are reserved for special use and cannot be reached from outside."
    if _public_suffixes().publicsuffix(name) == name:
        return f"{name} is a public suffix: anybody may register names below it, so nobody can own it."
    return None


class Claims:
    """Names that are about to be taken, by one site or by many at once, seen together with those that are taken.

    Every name is unique on the platform, whatever holds it; a name above or below a name of another account is that
    account's affair (S-60). Whoever makes one must hold the lock on names until its transaction ends.
    """

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._taken: dict[str, str] = {}
        self._below: dict[str, set[str]] = {}
        self._holders: dict[str, str | None] = {}

    def claim(self, account_id: str, domains: Sequence[Domain], held: Sequence[str] = ()) -> None:
        """See that the account may take `domains`, of which its site holds `held` already.

        Raises `InvalidInput` or `Conflict`, pointing at the field of each bad name; nothing is claimed then.
        """
        pointers = {
            name: "/domain" if index == 0 else f"/aliases/{index - 1}"
            for index, name in reversed(list(enumerate(domains)))
        }
        errors = [
            FieldError("/domain" if index == 0 else f"/aliases/{index - 1}", f"{name} is given twice.")
            for index, name in enumerate(domains)
            if name in domains[:index]
        ]
        new = [name for name in pointers if name not in held]
        for name in new:
            if reason := reservation(name, self._uow.settings):
                errors.append(FieldError(pointers[name], reason))
        if errors:
            raise InvalidInput("The site was not changed.", errors, hint="Choose other domain names.")
        conflicts = [FieldError(pointers[name], reason) for name in new if (reason := self._conflict(account_id, name))]
        if conflicts:
            raise DomainTaken(conflicts)
        for name in new:
            self._taken[name] = account_id
            for above in name.ancestors():
                self._below.setdefault(above, set()).add(account_id)

    def _conflict(self, account_id: str, name: Domain) -> str:
        """Why the account cannot have the name; empty if it can."""
        start = reverse(name)
        found = self._uow.connection.execute(_AT_OR_BELOW, {"start": start, "end": start[:-1] + "/"})
        owners = {self._holder(above) for above in name.ancestors()} | self._below.get(name, set())
        is_taken = name in self._taken
        for taken, owner in found:
            if taken == name:
                is_taken = True
            else:
                owners.add(owner)
        if is_taken:
            return f"{name} is taken."
        return f"{name} belongs together with a name of another account." if owners - {account_id, None} else ""

    def _holder(self, name: str) -> str | None:
        """The account that has exactly this name; looked up once, for many names lie below the same one."""
        if name in self._taken:
            return self._taken[name]
        if name not in self._holders:
            self._holders[name] = self._uow.connection.scalar(_AT, {"name": name})
        return self._holders[name]


def reverse(name: str) -> str:
    """The labels of a name, last one first, each with a dot behind it."""
    return "".join(f"{label}." for label in reversed(name.split(".")))


_COLUMNS = DomainNameRow.__table__.c
_AT = select(_COLUMNS.account_id).where(_COLUMNS.name == bindparam("name"))
_AT_OR_BELOW = select(_COLUMNS.name, _COLUMNS.account_id).where(
    _COLUMNS.reversed >= bindparam("start"), _COLUMNS.reversed < bindparam("end")
)
"""A name, and those below it: the slash follows the dot, which ends each label."""


class DomainTaken(Conflict, InvalidInput):
    """A name is taken, or lies above or below a name of another account; nothing was changed."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        InvalidInput.__init__(
            self,
            "The site was not changed: a domain name is taken.",
            errors,
            hint="Choose another name. If it is yours, ask the provider to have it released.",
        )
