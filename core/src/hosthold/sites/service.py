"""Declaring, changing and finding sites. Nothing here touches a node: the reconcile loop does."""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy import func, insert, select, update

from hosthold.accounts.models import AccountRow
from hosthold.accounts.service import get as get_account
from hosthold.audit.service import record
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drivers.runtime import RuntimeDriver
from hosthold.errors import FieldError, HostholdError, InvalidInput, NotFound, PreconditionFailed, Rejected
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import choose, facts_of
from hosthold.packages.models import PackageRow
from hosthold.sites.models import CounterRow, DomainNameRow, SiteRow
from hosthold.sites.names import Claims, reverse
from hosthold.sites.schema import RuntimeDraft, SiteChange, SiteDraft, SiteView, without_hashes
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.package import Limits
from hosthold.types.site import Runtime, Site
from hosthold.types.text import Domain, UnixName
from hosthold.types.web import WebOptions
from hosthold.work.outbox import CHANGED, announce

__all__ = [
    "SiteChange",
    "SiteDraft",
    "SiteView",
    "change",
    "declare",
    "delete",
    "get",
    "resume",
    "snapshot",
    "suspend",
]


def subject_of(row: SiteRow) -> str:
    """How events, orders and audit entries name this site."""
    return f"site:{row.id}"


def snapshot(row: SiteRow) -> Site:
    """The frozen value that drivers and hooks see of a row."""
    return Site(
        id=row.id,
        account_id=row.account_id,
        name=UnixName(row.name),
        uid=row.uid,
        domains=tuple(Domain(name) for name in row.domains),
        runtime=Runtime(driver=row.runtime_driver, version=row.runtime_version, settings=row.runtime_settings),
        document_root=row.document_root,
        limits=Limits.model_validate(row.limits),
        is_suspended=row.is_suspended,
        generation=row.generation,
        web=WebOptions.model_validate(row.web) if row.web else WebOptions(),
    )


def get(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteRow:
    """The site, if the actor reaches it; `NotFound` otherwise, whether it exists or not."""
    return _reached(actor, uow.session.get(SiteRow, site_id))


def _locked(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteRow:
    """Like `get`, for who is about to change the site: as it is now, and nobody else changes it until the end."""
    return _reached(actor, uow.session.get(SiteRow, site_id, with_for_update=True))


def _reached(actor: Actor, row: SiteRow | None) -> SiteRow:
    if row is None or not actor.reaches(row.account_path):
        raise NotFound("There is no such site.", hint="Check the identifier; a deleted site is gone for good.")
    return row


def declare(uow: UnitOfWork, actor: Actor, draft: SiteDraft) -> SiteRow:
    """Declare a site; it comes online in the background.

    Raises `InvalidInput` for fields that cannot be accepted, `Conflict` for a name that is taken, `Rejected` where the
    package allows no more sites, no node can take it, or a plugin objects. Nothing is stored then.
    """
    declaration = Declaration(uow, actor, 1)
    row = declaration.add(draft)
    declaration.store()
    return row


class Declaration:
    """Many sites that are declared in one transaction, with what they have in common looked up once."""

    def __init__(self, uow: UnitOfWork, actor: Actor, count: int) -> None:
        self._uow = uow
        self._actor = actor
        self._next_uid = _take_uids(uow, count)
        self._claims = Claims(uow)
        self._rows: list[SiteRow] = []
        self._owners: dict[str | None, tuple[AccountRow, PackageRow, Limits]] = {}
        self._held: dict[str, int] = {}
        self._nodes: dict[str, NodeRow] = {}

    def add(self, draft: SiteDraft) -> SiteRow:
        """One more site; raises what `declare` does."""
        uow = self._uow
        account, limits = self._owner(draft.account_id)
        node = self._node(draft.runtime.driver)
        domains = (draft.domain, *draft.aliases)
        self._claims.claim(account.id, domains)
        runtime = _runtime(uow, draft.runtime, limits, facts_of(node))
        now, uid = uow.clock(), self._next_uid
        row = SiteRow(
            id=new_identifier(), account_id=account.id, account_path=account.path, node_id=node.id, uid=uid,
            name=f"s{uid:x}",
            domains=list(map(str, domains)), runtime_driver=runtime.driver, runtime_version=runtime.version,
            runtime_settings=dict(runtime.settings), document_root=str(draft.document_root), limits=limits.model_dump(),
            is_suspended=False, generation=1, phase="pending", conditions=[], due_at=now, created_at=now,
        )  # fmt: skip
        uow.registry.check("check_site", site=snapshot(row), actor=self._actor)
        self._next_uid += 1
        self._held[account.id] += 1
        self._rows.append(row)
        return row

    def store(self) -> None:
        """Write all of them down, and have the worker begin."""
        uow = self._uow
        uow.session.add_all(self._rows)
        uow.session.flush()
        names = [
            {"name": name, "reversed": reverse(name), "account_id": row.account_id, "site_id": row.id}
            for row in self._rows
            for name in row.domains
        ]
        if names:
            uow.session.execute(insert(DomainNameRow), names)
        for row in self._rows:
            record(uow, self._actor, "site:create", subject_of(row), row.account_path, after=_declaration(row))
            _tell(uow, row)
        if self._rows:
            uow.ring("site", self._rows[0].id)

    def _owner(self, account_id: str | None) -> tuple[AccountRow, Limits]:
        if account_id not in self._owners:
            account, package = _owner(self._uow, self._actor, account_id)
            self._owners[account_id] = account, package, Limits.model_validate(package.limits)
        account, package, limits = self._owners[account_id]
        if account.id not in self._held:
            held = select(func.count()).select_from(SiteRow).where(SiteRow.account_id == account.id)
            self._held[account.id] = self._uow.session.scalar(held) or 0
        if self._held[account.id] >= package.max_sites:
            raise Rejected(
                f"The package {package.name!r} has room for {package.max_sites} sites, and all are in use.",
                hint="Delete a site that is no longer needed, or move to a larger package.",
            )
        return account, limits

    def _node(self, runtime: str) -> NodeRow:
        if runtime not in self._nodes:
            self._nodes[runtime] = choose(self._uow, runtime)
        return self._nodes[runtime]


def change(uow: UnitOfWork, actor: Actor, site_id: str, wanted: SiteChange, if_generation: int | None) -> SiteRow:
    """Change what is declared of a site. Raises like `declare`, and `PreconditionFailed` if it changed meanwhile."""
    _lock_names(uow)
    row = editable(uow, actor, site_id, if_generation)
    before = _declaration(row)
    if wanted.domain is not None or wanted.aliases is not None:
        held = list(row.domains)
        domains = (
            wanted.domain if wanted.domain is not None else Domain(held[0]),
            *(wanted.aliases if wanted.aliases is not None else map(Domain, held[1:])),
        )
        Claims(uow).claim(row.account_id, domains, held)
        row.domains = list(map(str, domains))
        _take_names(uow, row)
    if wanted.runtime is not None:
        node = uow.session.get_one(NodeRow, row.node_id)
        draft = (
            wanted.runtime
            if wanted.runtime.version
            else wanted.runtime.model_copy(update={"version": row.runtime_version})
        )
        runtime = _runtime(uow, draft, Limits.model_validate(row.limits), facts_of(node))
        row.runtime_driver, row.runtime_version, row.runtime_settings = (
            runtime.driver,
            runtime.version,
            dict(runtime.settings),
        )
    if wanted.document_root is not None:
        row.document_root = str(wanted.document_root)
    return _declared_again(uow, actor, row, "site:update", before)


def declare_web(uow: UnitOfWork, actor: Actor, row: SiteRow, web: WebOptions) -> None:
    """Set what the site sets of its web server. What is audited has names of users, and no hash of a password."""
    before = _declaration(row)
    row.web = {} if web.is_standard else web.model_dump(mode="json", exclude_defaults=True)
    _declared_again(uow, actor, row, "site:update", before)


def suspend(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteRow:
    """Have the site answer 503 to everybody; nothing of it is lost. Harmless if it is suspended already."""
    return _set_suspended(uow, actor, site_id, True)


def resume(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteRow:
    """Serve a suspended site again. Harmless if it is not suspended."""
    return _set_suspended(uow, actor, site_id, False)


def retry(uow: UnitOfWork, actor: Actor, site_id: str) -> SiteRow:
    """Try at once to bring the site to its declared state, also if it failed for good before."""
    row = _locked(uow, actor, site_id)
    record(uow, actor, "site:retry", subject_of(row), row.account_path)
    row.declare_again(uow.clock())
    _announce(uow, row)
    return row


def delete(uow: UnitOfWork, actor: Actor, site_id: str, if_generation: int | None) -> SiteRow:
    """Declare that the site shall be gone: files, user, names. Its row stays until nothing of it is on the node."""
    row = _locked(uow, actor, site_id)
    if row.deleting:
        return row
    _require_generation(row, if_generation)
    record(uow, actor, "site:delete", subject_of(row), row.account_path, before=_declaration(row))
    row.deleting = True
    row.declare_again(uow.clock())
    _announce(uow, row)
    return row


def _set_suspended(uow: UnitOfWork, actor: Actor, site_id: str, is_suspended: bool) -> SiteRow:
    row = editable(uow, actor, site_id, None)
    if row.is_suspended == is_suspended:
        return row
    before = _declaration(row)
    row.is_suspended = is_suspended
    return _declared_again(uow, actor, row, "site:suspend" if is_suspended else "site:resume", before)


def _declared_again(uow: UnitOfWork, actor: Actor, row: SiteRow, action: str, before: dict[str, object]) -> SiteRow:
    after = _declaration(row)
    if after == before:
        return row
    uow.registry.check("check_site", site=snapshot(row), actor=actor)
    row.declare_again(uow.clock())
    changed = {key for key in after if after[key] != before[key]}
    record(
        uow,
        actor,
        action,
        subject_of(row),
        row.account_path,
        {key: before[key] for key in changed},
        {key: after[key] for key in changed},
    )
    _announce(uow, row)
    return row


def _announce(uow: UnitOfWork, row: SiteRow) -> None:
    _tell(uow, row)
    uow.ring("site", row.id)


def _tell(uow: UnitOfWork, row: SiteRow) -> None:
    announce(uow, CHANGED, subject_of(row), row.account_path, {"phase": row.phase, "generation": row.generation})


def editable(uow: UnitOfWork, actor: Actor, site_id: str, if_generation: int | None) -> SiteRow:
    """The site, locked, for who is about to change it. Raises `NotFound`, `PreconditionFailed` if it has changed."""
    row = _locked(uow, actor, site_id)
    if row.deleting:
        raise NotFound("There is no such site: it is being deleted.", hint="Make a new site once its name is free.")
    _require_generation(row, if_generation)
    return row


def _require_generation(row: SiteRow, expected: int | None) -> None:
    if expected is not None and expected != row.generation:
        raise PreconditionFailed(
            "The site was changed by somebody else since you read it; your change was not made.",
            hint="Read the site again, and repeat your change if it still makes sense.",
        )


def _declaration(row: SiteRow) -> dict[str, object]:
    return {
        "domains": list(row.domains), "runtime": [row.runtime_driver, row.runtime_version, dict(row.runtime_settings)],
        "document_root": row.document_root, "is_suspended": row.is_suspended, "web": without_hashes(row.web),
    }  # fmt: skip


def _owner(uow: UnitOfWork, actor: Actor, account_id: str | None) -> tuple[AccountRow, PackageRow]:
    try:
        account = get_account(uow, actor, account_id or actor.account_id)
    except NotFound as error:
        raise InvalidInput(
            "The site was not made.", [FieldError("/account_id", error.detail)], hint=error.hint
        ) from None
    package = uow.session.get(PackageRow, account.package_id) if account.package_id else None
    if package is None:
        raise InvalidInput(
            "The site was not made.",
            [FieldError("/account_id", "This account has no package, so it cannot have sites.")],
            hint="Name a customer's account, or give this one a package.",
        )
    return account, package


def _runtime(uow: UnitOfWork, draft: RuntimeDraft, limits: Limits, facts: dict[str, tuple[str, ...]]) -> Runtime:
    versions = facts.get(draft.driver, ())
    if not versions:
        raise InvalidInput(
            "The site was not changed.",
            [FieldError("/runtime/driver", f"No node offers {draft.driver!r}.")],
            hint=f"Available: {', '.join(sorted(facts)) or 'nothing yet; see `hosthold doctor`'}.",
        )
    version = draft.version or versions[0]
    if version not in versions:
        raise InvalidInput(
            "The site was not changed.",
            [FieldError("/runtime/version", f"{draft.driver} {version} is not installed on the node.")],
            hint=f"Available: {', '.join(versions)}.",
        )
    try:
        driver = uow.registry.driver("runtime", draft.driver)
    except HostholdError as error:
        raise InvalidInput(
            "The site was not changed.", [FieldError("/runtime/driver", error.detail)], hint=error.hint
        ) from None
    assert isinstance(driver, RuntimeDriver)
    try:
        settings = driver.site_settings.model_validate(dict(draft.settings), context={"limits": limits})
    except ValidationError as error:
        fields = [
            FieldError("/runtime/settings/" + "/".join(map(str, item["loc"])), item["msg"]) for item in error.errors()
        ]
        allowed = ", ".join(sorted(field.alias or name for name, field in driver.site_settings.model_fields.items()))
        raise InvalidInput("The site was not changed.", fields, hint=f"Settings that can be set: {allowed}.") from None
    return Runtime(
        driver=draft.driver,
        version=version,
        settings=settings.model_dump(exclude_unset=True, by_alias=True, mode="json"),
    )


def _lock_names(uow: UnitOfWork) -> None:
    """Make all who take names wait for each other, so that rules about other rows hold."""
    uow.session.execute(update(CounterRow).where(CounterRow.name == "uid").values(value=CounterRow.value))


def _take_uids(uow: UnitOfWork, count: int) -> int:
    """The first of so many Unix numbers that were never given out. The row stays locked, as by `_lock_names`."""
    raised = (
        update(CounterRow)
        .where(CounterRow.name == "uid")
        .values(value=CounterRow.value + count)
        .returning(CounterRow.value)
    )
    value = uow.session.scalar(raised)
    if value is None:
        raise Rejected(
            "There is no node yet, so a site has no place to be.", hint="Start `hosthold node`, or `hosthold up`."
        )
    if value > uow.settings.node.uid_last:
        raise Rejected("All Unix numbers of the range are used up.", hint="Raise node.uid_last in hosthold.toml.")
    return value - count + 1


def _take_names(uow: UnitOfWork, row: SiteRow) -> None:
    held = set(uow.session.scalars(select(DomainNameRow.name).where(DomainNameRow.site_id == row.id)))
    for name in held - set(row.domains):
        uow.session.delete(uow.session.get_one(DomainNameRow, name))
    new = [name for name in row.domains if name not in held]
    if new:
        uow.session.execute(
            insert(DomainNameRow),
            [
                {"name": name, "reversed": reverse(name), "account_id": row.account_id, "site_id": row.id}
                for name in new
            ],
        )
