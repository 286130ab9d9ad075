"""The form of a site: its fields, what they offer, and how they become a draft or a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from hosthold.accounts import service as accounts
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drivers.runtime import RuntimeDriver
from hosthold.errors import HostholdError
from hosthold.panel.forms import filled, parse
from hosthold.panel.text import day_text
from hosthold.plugins.manager import PluginRegistry
from hosthold.sites.models import SiteRow
from hosthold.sites.runtimes import Support, SupportState, newest_first, offered, support_of
from hosthold.sites.schema import SiteChange, SiteDraft
from hosthold.types.actor import Actor

MOST_ACCOUNTS = 200
"""How many accounts the form offers; the API can name any."""


class SettingField(NamedTuple):
    """A setting of a runtime as a field of the form."""

    name: str
    label: str
    help: str
    type: str
    choices: list[tuple[str, str]]
    default: str
    minimum: float | None
    maximum: float | None


def runtime_choices(uow: UnitOfWork) -> list[tuple[str, str]]:
    """The runtimes and versions that any node has, as `php 8.2`, newest first; those that end say so."""
    return [
        (f"{driver} {version}", f"{driver.upper()} {version}{_support_note(support_of(uow, driver, version))}")
        for driver, version in newest_first(offered(uow))
    ]


def _support_note(support: Support) -> str:
    match support.state:
        case SupportState.ended:
            return f" (end of life since {day_text(support.ends_on or date.max)})"
        case SupportState.ending:
            return f" (ends on {day_text(support.ends_on or date.max)})"
        case _:
            return ""


def account_choices(uow: UnitOfWork, actor: Actor) -> list[tuple[str, str]]:
    """The accounts that the actor may give a site to: those with a package; none, if it is only its own."""
    rows, _ = accounts.page(uow, actor, MOST_ACCOUNTS, None)
    choices = [(row.id, row.name) for row in rows if row.package_id is not None]
    if [account_id for account_id, _ in choices] == [actor.account_id]:
        return []
    return choices if len(choices) == 1 else [("", "Choose an account"), *choices]


def setting_fields(registry: PluginRegistry, runtimes: Iterable[tuple[str, str]]) -> dict[str, list[SettingField]]:
    """The settings that a site may have, by the drivers that are on offer. A driver that cannot be used has none."""
    found: dict[str, list[SettingField]] = {}
    for driver_name in dict.fromkeys(value.split(" ")[0] for value, _ in runtimes):
        try:
            driver = registry.driver("runtime", driver_name)
        except HostholdError:
            continue
        assert isinstance(driver, RuntimeDriver)
        schema = driver.site_settings.model_json_schema(by_alias=True)
        fields = [
            _field(driver_name, name, _plain(property_, schema)) for name, property_ in schema["properties"].items()
        ]
        if fields:
            found[driver_name] = fields
    return found


def values_of(row: SiteRow) -> dict[str, str]:
    """What the form of an existing site shows at first."""
    settings = {f"{row.runtime_driver}.{name}": _shown(value) for name, value in row.runtime_settings.items()}
    return {
        "domain": row.domains[0], "aliases": "\n".join(row.domains[1:]), "document_root": row.document_root,
        "runtime": f"{row.runtime_driver} {row.runtime_version}", **settings,
    }  # fmt: skip


def draft_of(form: Mapping[str, str], settings: Mapping[str, list[SettingField]]) -> SiteDraft:
    """The draft that was filled in. Raises `InvalidInput`."""
    named = {name: value for name, value in filled(form).items() if name in ("domain", "account_id", "document_root")}
    return parse(SiteDraft, {**named, **_lists_and_runtime(form, settings)}, "The site was not made yet.")


def change_of(form: Mapping[str, str], settings: Mapping[str, list[SettingField]]) -> SiteChange:
    """The change that was filled in: everything that the form shows. Raises `InvalidInput`."""
    named = {name: form.get(name, "").strip() for name in ("domain", "document_root")}
    return parse(SiteChange, {**named, **_lists_and_runtime(form, settings)}, "The site was not changed.")


def places(form: Mapping[str, str], settings: Mapping[str, list[SettingField]]) -> dict[str, str]:
    """Which field shows the errors of which part of the draft."""
    driver = form.get("runtime", "").partition(" ")[0]
    own = {f"/runtime/settings/{field.label}": field.name for field in settings.get(driver, ())}
    return {"/domain": "domain", "/aliases": "aliases", "/account_id": "account_id", "/document_root": "document_root",
            "/runtime": "runtime", **own}  # fmt: skip


def _lists_and_runtime(form: Mapping[str, str], settings: Mapping[str, list[SettingField]]) -> dict[str, Any]:
    driver, _, version = form.get("runtime", "").partition(" ")
    chosen = {
        field.label: _typed(field, form[field.name].strip())
        for field in settings.get(driver, ())
        if form.get(field.name, "").strip()
    }
    runtime = {name: value for name, value in (("driver", driver), ("version", version)) if value}
    return {"aliases": form.get("aliases", "").split(), "runtime": {**runtime, "settings": chosen}}


def _typed(field: SettingField, value: str) -> str | int | bool:
    if field.choices and value in ("true", "false"):
        return value == "true"
    return int(value) if field.type == "number" and value.removeprefix("-").isdecimal() else value


def _plain(property_: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A property without its indirections: a reference is followed, and of what may be null the other kind is taken."""
    kinds = [kind for kind in property_.get("anyOf", ()) if kind.get("type") != "null"]
    merged = {**property_, **(kinds[0] if kinds else {})}
    if "$ref" in merged:
        merged = {**schema["$defs"][merged["$ref"].rsplit("/", 1)[1]], **merged}
    return merged


def _field(driver: str, name: str, property_: dict[str, Any]) -> SettingField:
    words = [str(word) for word in property_.get("enum", ())]
    choices = [(word, word) for word in words]
    if property_.get("type") == "boolean":
        choices = [("true", "On"), ("false", "Off")]
    default = property_.get("default")
    initial = "" if default is None else dict(choices).get(_shown(default), _shown(default))
    return SettingField(
        name=f"{driver}.{name}", label=name, help=property_.get("description", ""),
        type="number" if property_.get("type") == "integer" else "text",
        choices=[("", f"Default ({initial})" if initial else "Default"), *choices] if choices else [],
        default=initial,
        minimum=property_.get("minimum"), maximum=property_.get("maximum"),
    )  # fmt: skip


def _shown(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
