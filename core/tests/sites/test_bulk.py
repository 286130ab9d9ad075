"""Many sites at once: all or none by the API's rule, and line by line from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hosthold.audit.models import AuditRow
from hosthold.cli.sites_import import Report, _chunks, _declare, _lines
from hosthold.db.unit_of_work import Database
from hosthold.errors import InvalidInput, Rejected
from hosthold.packages.models import PackageRow
from hosthold.sites.bulk import declare_all
from hosthold.sites.models import DomainNameRow, SiteRow
from hosthold.sites.schema import SiteDraft
from sqlalchemy import func, select

from core.tests.sites.conftest import World


def _drafts(*domains: str) -> list[SiteDraft]:
    return [SiteDraft.model_validate({"domain": domain}) for domain in domains]


def _room_for(database: Database, count: int) -> None:
    with database.write() as uow:
        for package in uow.session.scalars(select(PackageRow)):
            package.max_sites = count


def _count(database: Database) -> int:
    with database.read() as uow:
        return int(uow.session.scalar(select(func.count()).select_from(SiteRow)) or 0)


def test_a_thousand_are_declared_together(world: World) -> None:
    _room_for(world.database, 1000)
    with world.database.write() as uow:
        rows = declare_all(uow, world.alice, _drafts(*(f"site{number}.test" for number in range(1000))))
        assert len({row.id for row in rows} | {row.name for row in rows} | {row.uid for row in rows}) == 3000
        assert [row.uid for row in rows] == sorted(row.uid for row in rows)
    with world.database.read() as uow:
        assert uow.session.scalar(select(func.count()).select_from(DomainNameRow)) == 1000
        declared = select(func.count()).select_from(AuditRow).where(AuditRow.action == "site:create")
        assert uow.session.scalar(declared) == 1000


def test_none_is_made_if_one_cannot_be_and_every_reason_is_told(world: World) -> None:
    _room_for(world.database, 10)
    with world.database.write() as uow:
        declare_all(uow, world.bob, _drafts("taken.test"))
    drafts = _drafts("a.test", "b.a.test", "taken.test", "a.test", "c.test")
    with pytest.raises(InvalidInput) as raised, world.database.write() as uow:
        declare_all(uow, world.alice, drafts)
    assert [error.pointer for error in raised.value.errors] == ["/sites/2/domain", "/sites/3/domain"]
    assert "2 of 5" in raised.value.detail
    assert _count(world.database) == 1


def test_a_package_is_not_exceeded_by_many_at_once(world: World) -> None:
    with pytest.raises((InvalidInput, Rejected)) as raised, world.database.write() as uow:
        declare_all(uow, world.alice, _drafts(*(f"site{number}.test" for number in range(4))))
    assert "3" in str(raised.value.errors if isinstance(raised.value, InvalidInput) else raised.value.detail)
    assert _count(world.database) == 0


def _import(world: World, file: Path, *, dry_run: bool = False) -> Report:
    report = Report()
    for chunk in _chunks(_lines(world.database, file, None, report)):
        _declare(world.database, world.provider, chunk, report, dry_run=dry_run)
    return report


def test_a_file_is_imported_line_by_line_and_again_without_harm(world: World, tmp_path: Path) -> None:
    _room_for(world.database, 300)
    file = tmp_path / "sites.csv"
    good = [f"s{number}.test,Alice,www.s{number}.test x.s{number}.test,8.2," for number in range(250)]
    bad = [
        "no domain!,Alice,,,", "s1.test,Alice,,,", "x.test,Nobody,,,", "y.test,,,,", "z.test,Bob,,,../etc",
        "late.test,Bob,www.s7.test,,", "php.test,Bob,,5.2,",
    ]  # fmt: skip
    file.write_text("\n".join(("domain,account,aliases,php,document_root", *good, *bad)) + "\n")

    tried = _import(world, file, dry_run=True)
    assert (len(tried.made), len(tried.refused), _count(world.database)) == (250, 7, 0)

    done = _import(world, file)
    assert (len(done.made), done.existing, _count(world.database)) == (250, 0, 250)
    assert [each["line"] for each in sorted(done.refused, key=lambda each: int(each["line"]))] == list(range(252, 259))
    reasons = {each["domain"]: str(each["reason"]) for each in done.refused}
    assert "earlier line" in reasons["s1.test"]
    assert "'Nobody'" in reasons["x.test"]
    assert "--account" in reasons["y.test"]
    assert "document_root" in reasons["z.test"]
    assert "5.2" in reasons["php.test"]

    again = _import(world, file)
    assert (len(again.made), again.existing, len(again.refused)) == (0, 250, 7)


def test_a_site_that_is_there_with_other_values_is_told_of(world: World, tmp_path: Path) -> None:
    file = tmp_path / "sites.jsonl"
    file.write_text(json.dumps({"domain": "a.test", "account": "Alice"}) + "\n")
    assert len(_import(world, file).made) == 1
    file.write_text(json.dumps({"domain": "a.test", "account": "Alice", "document_root": "web"}) + "\n\n")
    report = _import(world, file)
    assert (report.made, report.existing) == ([], 0)
    assert report.refused[0]["line"] == 1
    assert "domain" in str(report.refused[0]["reason"])


@pytest.mark.parametrize("text", ["name,account\nx,y\n", "", "domain,colour\nx,y\n", '{"domain": \n'])
def test_a_file_of_another_kind_is_refused_as_a_whole(world: World, tmp_path: Path, text: str) -> None:
    file = tmp_path / "sites"
    file.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        _import(world, file)
    assert raised.value.hint
