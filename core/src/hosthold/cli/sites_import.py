"""`hosthold sites import`: declare the sites of a file, and say of each line that cannot be one why not."""

from __future__ import annotations

import csv
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import click
import orjson
from pydantic import ValidationError
from sqlalchemy import func, select

from hosthold.accounts.models import AccountRow
from hosthold.cli.context import Context, json_option, pass_context, print_json
from hosthold.cli.store import open_database, operator
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import HostholdError, InvalidInput, NotFound
from hosthold.sites.bulk import declare_all
from hosthold.sites.models import DomainNameRow, SiteRow
from hosthold.sites.schema import SiteDraft
from hosthold.types.actor import Actor
from hosthold.types.site import Phase

COLUMNS = ("domain", "account", "aliases", "php", "document_root")
TOGETHER = 200
"""Lines declared in one transaction: the panel and others who write wait for it."""
_SHOWN = 20
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Line:
    """One line of the file: its number, what it says, and the site that it declares."""

    number: int
    domain: str
    draft: SiteDraft


@dataclass
class Report:
    """What became of the lines."""

    made: list[str] = field(default_factory=list)
    """Identifiers of the sites that were declared."""
    existing: int = 0
    refused: list[dict[str, str | int]] = field(default_factory=list)

    def refuse(self, number: int, domain: str, reason: str) -> None:
        """Note why a line is no site."""
        self.refused.append({"line": number, "domain": domain, "reason": reason})


class _NothingIsKept(Exception):
    """Ends a trial's transaction."""


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--account", help="The customer, by name or identifier, of lines that name none.")
@click.option("--dry-run", is_flag=True, help="Check every line; declare nothing.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until all are online, or have failed.")
@json_option
@pass_context
def import_sites(
    context: Context, file: Path, account: str | None, *, dry_run: bool, wait: bool, as_json: bool
) -> None:
    """Declare the sites of FILE, comma-separated with a first line of names, or with one JSON object a line.

    \b
    Names: domain, account, aliases (separated by spaces), php, document_root. Only the domain is needed.

    Lines that cannot be a site are listed with the reason and change nothing; the others are made. Sites that are there
    already as the file has them are left alone, so an import that was interrupted is simply started again.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file}.", hint="Name a file with one site a line.")
    report, failed = Report(), list[dict[str, str]]()
    with open_database(context) as database:
        actor = operator(database)
        lines = _lines(database, file, account, report)
        for chunk in _chunks(lines):
            _declare(database, actor, chunk, report, dry_run=dry_run)
            if not as_json:
                click.echo(f"\r{len(report.made):,} declared, {len(report.refused):,} refused", nl=False, err=True)
        if not as_json:
            click.echo(err=True)
        if wait and not dry_run:
            failed = _wait(database, report, is_quiet=as_json)
    _print(report, failed, dry_run=dry_run, as_json=as_json)
    raise SystemExit(1 if report.refused or failed else 0)


def _lines(database: Database, file: Path, account: str | None, report: Report) -> Iterator[Line]:
    """The lines that may be sites; the others are noted as refused."""
    seen: set[str] = set()
    accounts = _Accounts(database)
    with file.open(encoding="utf-8", newline="") as opened:
        for number, values in _read(opened, file.name):
            domain = str(values.get("domain") or "")
            try:
                draft = _draft(values, accounts.identifier(str(values.get("account") or account or "")))
            except ValueError as error:
                report.refuse(number, domain, str(error))
                continue
            names = {str(draft.domain), *map(str, draft.aliases)}
            if names & seen:
                report.refuse(number, domain, f"an earlier line has {', '.join(sorted(names & seen))}")
                continue
            seen |= names
            yield Line(number, domain, draft)


def _read(opened: IO[str], name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Number and values of each line. Raises `InvalidInput` if the file is none of the two kinds."""
    first = opened.readline()
    rest = itertools.chain([first], opened)
    if first.lstrip().startswith("{"):
        for number, text in enumerate(rest, 1):
            if text.strip():
                try:
                    values = orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    raise InvalidInput(
                        f"Line {number} of {name} is no JSON: {error}.", [], hint="Mend the line."
                    ) from None
                yield number, values if isinstance(values, dict) else {}
        return
    reader = csv.DictReader(rest)
    unknown = sorted(set(reader.fieldnames or [""]) - set(COLUMNS))
    if unknown or "domain" not in (reader.fieldnames or ()):
        raise InvalidInput(
            f"The first line of {name} names {', '.join(map(repr, unknown)) or 'no domain'}.",
            [],
            hint=f"Begin the file with names out of: {', '.join(COLUMNS)}.",
        )
    yield from ((reader.line_num, values) for values in reader)


class _Accounts:
    """Accounts by name or identifier, each looked up once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[str, str] = {}

    def identifier(self, account: str) -> str:
        """Raises `ValueError` if there is not exactly one."""
        if not account:
            raise ValueError("it names no account; add one, or use --account")
        if account not in self._found:
            with self._database.read() as uow:
                query = select(AccountRow.id).where((AccountRow.id == account) | (AccountRow.name == account))
                found = uow.session.scalars(query).all()
            if len(found) != 1:
                raise ValueError(f"{'several accounts are' if found else 'no account is'} called {account!r}")
            self._found[account] = found[0]
        return self._found[account]


def _draft(values: Mapping[str, object], account_id: str) -> SiteDraft:
    """Raises `ValueError` saying which value is none."""
    unknown = sorted(map(str, values.keys() - set(COLUMNS)))
    if unknown:
        raise ValueError(f"it has {', '.join(unknown)}, which no site has")
    aliases = values.get("aliases") or ()
    given: dict[str, object] = {
        "domain": values.get("domain"),
        "account_id": account_id,
        "aliases": aliases.split() if isinstance(aliases, str) else aliases,
        "runtime": {"version": values.get("php") or None},
    }
    if values.get("document_root"):
        given["document_root"] = values["document_root"]
    try:
        return SiteDraft.model_validate(given)
    except ValidationError as error:
        reasons = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ValueError("; ".join(reasons)) from None


def _chunks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while chunk := list(itertools.islice(lines, TOGETHER)):
        yield chunk


def _declare(database: Database, actor: Actor, lines: Sequence[Line], report: Report, *, dry_run: bool) -> None:
    """Declare those of the lines that can be sites: what is refused is noted, and the others are tried again."""
    left = list(lines)
    while left:
        try:
            with database.write() as uow:
                left = _not_there(uow, left, report)
                made = [row.id for row in declare_all(uow, actor, [line.draft for line in left])] if left else []
                if dry_run:
                    raise _NothingIsKept
        except _NothingIsKept:
            report.made += made
            return
        except InvalidInput as error:
            reasons: dict[int, list[str]] = {}
            for each in error.errors:
                _, _, place, *rest = each.pointer.split("/")
                reasons.setdefault(int(place), []).append(": ".join(filter(None, ("/".join(rest), each.detail))))
            for number, words in reasons.items():
                report.refuse(left[number].number, left[number].domain, "; ".join(words))
            left = [line for number, line in enumerate(left) if number not in reasons]
        else:
            report.made += made
            return


def _not_there(uow: UnitOfWork, lines: Iterable[Line], report: Report) -> list[Line]:
    """Those whose domain is nobody's; sites that are there as the line has them are counted."""
    by_name = {str(line.draft.domain): line for line in lines}
    query = (
        select(DomainNameRow.name, SiteRow)
        .join(SiteRow, SiteRow.id == DomainNameRow.site_id)
        .where(DomainNameRow.name.in_(by_name))
    )
    for name, row in uow.session.execute(query):
        draft = by_name[name].draft
        is_same = row.account_id == draft.account_id and row.domains[:1] == [name]
        if is_same and sorted(row.domains[1:]) == sorted(draft.aliases) and row.document_root == draft.document_root:
            report.existing += 1
            del by_name[name]
    return list(by_name.values())


def _wait(database: Database, report: Report, *, is_quiet: bool) -> list[dict[str, str]]:
    """Wait until every site that was declared is online or has failed; those that failed, with the reason."""
    if not report.made:
        return []
    first, last = min(report.made), max(report.made)
    mine = set(report.made)
    before, since = -1, time.monotonic()
    while True:
        with database.read() as uow:
            query = select(SiteRow.phase, func.count()).where(SiteRow.id.between(first, last)).group_by(SiteRow.phase)
            counts: dict[str, int] = {str(phase): count for phase, count in uow.session.execute(query).tuples()}
        left = sum(count for phase, count in counts.items() if phase not in (Phase.ready, Phase.failed))
        if not is_quiet:
            click.echo(f"\r{counts.get(Phase.ready, 0):,} online, {left:,} to go   ", nl=False, err=True)
        if not left:
            break
        if left != before:
            before, since = left, time.monotonic()
        elif time.monotonic() - since > WAIT_SECONDS:
            raise HostholdError(
                f"{left:,} sites are not online, and for {WAIT_SECONDS:.0f} seconds none came. All are declared.",
                hint="See that `hosthold worker` and `hosthold node` run (`hosthold doctor`): then they go on.",
            )
        time.sleep(0.2)
    if not is_quiet:
        click.echo(err=True)
    with database.read() as uow:
        rows = uow.session.scalars(
            select(SiteRow).where(SiteRow.id.between(first, last), SiteRow.phase == Phase.failed)
        ).all()
        return [
            {"domain": row.domains[0], "reason": "; ".join(str(each["message"]) for each in row.conditions)}
            for row in rows
            if row.id in mine
        ]


def _print(report: Report, failed: list[dict[str, str]], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        count = len(report.made)
        print_json({"made": count, "existing": report.existing, "refused": report.refused, "failed": failed})
        return
    done = "could be declared; nothing was" if dry_run else "declared"
    click.echo(f"{len(report.made):,} sites {done}, {report.existing:,} were there already.")
    for title, lines in (
        (
            f"{len(report.refused):,} lines were refused:",
            [f"line {x['line']}, {x['domain']}: {x['reason']}" for x in report.refused],
        ),
        (f"{len(failed):,} sites failed:", [f"{x['domain']}: {x['reason']}" for x in failed]),
    ):
        if lines:
            click.secho(title, fg="red")
            for line in lines[:_SHOWN]:
                click.echo(f"  {line}")
            if len(lines) > _SHOWN:
                click.echo(f"  … and {len(lines) - _SHOWN:,} more; --json lists all.")
    if report.refused:
        click.echo("What to do: mend these lines and import the file again; the others are left alone.")
