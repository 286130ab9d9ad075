"""What the border accepts and shows of sites."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2s
from typing import Annotated, Any, cast

from pydantic import Field

from hosthold.sites.models import SiteRow
from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier
from hosthold.types.moment import Moment, moment
from hosthold.types.site import Condition, DriverName, Phase, Runtime, SettingValue, Version
from hosthold.types.text import Domain, RelativePath

Aliases = Annotated[tuple[Domain, ...], Field(max_length=100)]


class RuntimeDraft(Frozen):
    """Which runtime runs the site's code. Which `settings` there are, and their bounds, the runtime's driver says."""

    driver: DriverName = "php"
    version: Version | None = Field(default=None, description="Unset means the newest one that the node has.")
    settings: Mapping[str, SettingValue] = Field(default_factory=dict, max_length=50)


class SiteDraft(Frozen):
    """A site to be declared. Without `account_id` it belongs to the account that asks."""

    domain: Domain
    aliases: Aliases = ()
    account_id: Identifier | None = None
    runtime: RuntimeDraft = RuntimeDraft()
    document_root: RelativePath = RelativePath("public")


class SiteBatch(Frozen):
    """Sites to be declared together: all of them, or none."""

    sites: Annotated[tuple[SiteDraft, ...], Field(min_length=1, max_length=1000)]


class SiteChange(Frozen):
    """What is to change of a site; what is left out stays as it is."""

    domain: Domain | None = None
    aliases: Aliases | None = None
    runtime: RuntimeDraft | None = None
    document_root: RelativePath | None = None


class SiteView(Frozen):
    """A site as the API shows it. It is as declared when `phase` is `ready`."""

    id: Identifier
    account_id: Identifier
    name: str
    domain: Domain
    aliases: tuple[Domain, ...]
    runtime: Runtime
    document_root: RelativePath
    is_suspended: bool
    phase: Phase
    generation: int
    observed_generation: int
    conditions: tuple[Condition, ...]
    created_at: Moment

    @classmethod
    def of(cls, row: SiteRow) -> SiteView:
        """The view of a row; what is stored was valid when it was declared, so it is not parsed again."""
        return cls.model_construct(
            id=row.id,
            account_id=row.account_id,
            name=row.name,
            domain=row.domains[0],
            aliases=tuple(row.domains[1:]),
            runtime=Runtime.model_construct(
                driver=row.runtime_driver, version=row.runtime_version, settings=row.runtime_settings
            ),
            document_root=cast("RelativePath", row.document_root),
            is_suspended=bool(row.is_suspended),
            phase=Phase(row.phase),
            generation=row.generation,
            observed_generation=row.observed_generation,
            conditions=tuple(Condition.model_construct(**condition) for condition in row.conditions),
            created_at=moment(row.created_at),
        )


class SiteBatchView(Frozen):
    """The sites that were declared together, in the order in which they were named."""

    items: tuple[SiteView, ...]


def without_hashes(web: dict[str, Any]) -> dict[str, Any]:
    """The options with a mark in place of each hash, that is another one when the password is."""
    places = [
        {
            **place,
            "users": [
                [user["name"], blake2s(user["password_hash"].encode(), digest_size=4).hexdigest()]
                for user in place["users"]
            ],
        }
        for place in web.get("basic_auth", ())
    ]
    return {**web, "basic_auth": places} if places else web
