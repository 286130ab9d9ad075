"""`hosthold sites`: list, show and declare sites from a terminal."""

from __future__ import annotations

import time

import click
import orjson
from pydantic import ValidationError
from sqlalchemy import select

from hosthold.accounts.models import AccountRow
from hosthold.cli.context import Context, json_option, pass_context, print_json, print_table
from hosthold.cli.sites_import import import_sites
from hosthold.cli.store import open_database, operator
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import FieldError, HostholdError, InvalidInput, NotFound
from hosthold.sites import service
from hosthold.sites.listing import SiteListRow, page, shaped
from hosthold.sites.logs import read_log
from hosthold.sites.models import DomainNameRow, SiteRow
from hosthold.sites.schema import SiteDraft, SiteView
from hosthold.types.actor import Actor
from hosthold.types.resource import LogName, LogRequest
from hosthold.types.site import Phase
from hosthold.work.node_orders import NodeQueueClient

WAIT_SECONDS = 60.0


def find(uow: UnitOfWork, actor: Actor, site: str) -> SiteRow:
    """A site by one of its domain names or its identifier; `NotFound` if there is none."""
    held = uow.session.scalar(select(DomainNameRow.site_id).where(DomainNameRow.name == site.lower().rstrip(".")))
    try:
        return service.get(uow, actor, held or site)
    except NotFound:
        raise NotFound(f"There is no site {site!r}.", hint="`hosthold sites list` shows all.") from None


@click.group()
def sites() -> None:
    """Sites: list, show, logs, create, import, suspend, resume, retry, delete."""


@sites.command("list")
@json_option
@pass_context
def list_sites(context: Context, *, as_json: bool) -> None:
    """List all sites, newest first."""
    rows: list[SiteListRow] = []
    cursor: str | None = None
    with open_database(context) as database, database.read() as uow:
        actor = operator(database)
        while True:
            found, cursor = page(uow, actor, 200, cursor)
            rows += found
            if cursor is None:
                break
    if as_json:
        print_json([shaped(row) for row in rows])
        return
    table = [
        (
            orjson.loads(row.domains)[0],
            row.phase,
            f"{row.runtime_driver} {row.runtime_version}",
            ", ".join(condition["reason"] for condition in orjson.loads(row.conditions)),
            row.id,
        )
        for row in rows
    ]
    print_table(
        ("DOMAIN", "PHASE", "RUNTIME", "REASON", "ID"),
        table,
        "No sites yet. Make one: hosthold sites create example.org --account NAME",
    )


@sites.command()
@click.argument("site")
@json_option
@pass_context
def show(context: Context, site: str, *, as_json: bool) -> None:
    """Show SITE, a domain name or identifier."""
    with open_database(context) as database, database.read() as uow:
        _print(SiteView.of(find(uow, operator(database), site)), as_json=as_json)


@sites.command()
@click.argument("site")
@click.option("--log", type=click.Choice([name.value for name in LogName]), default="access", show_default=True)
@click.option("--lines", type=click.IntRange(1, 1000), default=200, show_default=True, help="How many, at most.")
@click.option("--contains", default="", help="Only lines with this in them.")
@click.option("--follow", is_flag=True, help="Go on with lines as they are written.")
@pass_context
def logs(context: Context, site: str, log: str, lines: int, contains: str, *, follow: bool) -> None:
    """Show the end of a log of SITE, a domain name or identifier, as its node has it."""
    wanted = LogRequest(log=LogName(log), lines=lines, contains=contains)
    with open_database(context) as database:
        actor = operator(database)
        with database.read() as uow:
            site_id = find(uow, actor, site).id
        nodes = NodeQueueClient(context.settings)
        try:
            while True:
                page = read_log(database, nodes, actor, site_id, wanted)
                for line in page.lines:
                    click.echo(line)
                if not follow:
                    return
                wanted = LogRequest(log=wanted.log, lines=1000, contains=contains, after=page.cursor)
                time.sleep(1)
        finally:
            nodes.close()


@sites.command()
@click.argument("domain")
@click.option("--account", required=True, help="The customer's name or identifier.")
@click.option("--alias", "aliases", multiple=True, help="Another host name of the site; may be repeated.")
@click.option("--php", "version", help="The PHP version; the newest one if left out.")
@click.option("--document-root", default="public", show_default=True)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is online, or has failed.")
@json_option
@pass_context
def create(
    context: Context,
    domain: str,
    account: str,
    aliases: tuple[str, ...],
    version: str | None,
    document_root: str,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Declare a site for DOMAIN and wait until it is online."""
    with open_database(context) as database:
        actor = operator(database)
        with database.write() as uow:
            row = service.declare(
                uow, actor, _draft(domain, aliases, version, document_root, account_named(uow, account))
            )
        _finish(database, actor, row.id, wait=wait, as_json=as_json)


def _declare(name: str, help_text: str) -> None:
    @sites.command(name, help=help_text)
    @click.argument("site")
    @click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is done, or has failed.")
    @json_option
    @pass_context
    def act(context: Context, site: str, *, wait: bool, as_json: bool) -> None:
        with open_database(context) as database:
            actor = operator(database)
            with database.write() as uow:
                row = find(uow, actor, site)
                if name == "delete":
                    service.delete(uow, actor, row.id, None)
                else:
                    {"suspend": service.suspend, "resume": service.resume, "retry": service.retry}[name](
                        uow, actor, row.id
                    )
            _finish(database, actor, row.id, wait=wait, as_json=as_json)


sites.add_command(import_sites)
_declare("suspend", "Have SITE answer 503; nothing of it is lost.")
_declare("resume", "Serve a suspended SITE again.")
_declare("retry", "Try again at once to bring SITE to its declared state.")
_declare("delete", "Delete SITE with its files, for good.")


def account_named(uow: UnitOfWork, account: str) -> str:
    query = select(AccountRow.id).where((AccountRow.id == account) | (AccountRow.name == account))
    found = uow.session.scalars(query).all()
    if len(found) != 1:
        raise NotFound(
            f"{'Several accounts are' if found else 'No account is'} called {account!r}.",
            hint="Name the account by its identifier.",
        )
    return found[0]


def _draft(
    domain: str, aliases: tuple[str, ...], version: str | None, document_root: str, account_id: str
) -> SiteDraft:
    try:
        return SiteDraft.model_validate(
            {
                "domain": domain,
                "aliases": aliases,
                "account_id": account_id,
                "document_root": document_root,
                "runtime": {"version": version},
            }
        )
    except ValidationError as error:
        fields = [FieldError("/".join(("", *map(str, item["loc"]))), item["msg"]) for item in error.errors()]
        reasons = "; ".join(f"{field.pointer[1:]} {field.detail}" for field in fields)
        raise InvalidInput(f"The site was not made: {reasons}.", fields) from None


def _finish(database: Database, actor: Actor, site_id: str, *, wait: bool, as_json: bool) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with database.read() as uow:
            try:
                view = SiteView.of(service.get(uow, actor, site_id))
            except NotFound:
                click.echo("{}" if as_json else "Nothing of the site is left.")
                return
        is_settled = view.phase in (Phase.ready, Phase.failed) or bool(view.conditions)
        if is_settled or not wait:
            _print(view, as_json=as_json)
            raise SystemExit(1 if view.phase is Phase.failed else 0)
        if time.monotonic() > deadline:
            raise HostholdError(
                f"The site is still {view.phase} after {WAIT_SECONDS:.0f} seconds; it goes on in the background.",
                hint="See that `hosthold worker` and `hosthold node` run: `hosthold doctor`.",
            )
        time.sleep(0.02)


def _print(view: SiteView, *, as_json: bool) -> None:
    if as_json:
        print_json(view.model_dump(mode="json"))
        return
    click.echo(f"{view.domain} is {view.phase}" + (" (suspended)" if view.is_suspended else ""))
    for name, value in (
        ("aliases", ", ".join(view.aliases)),
        ("runtime", f"{view.runtime.driver} {view.runtime.version}"),
        ("document root", view.document_root),
        ("user", view.name),
        ("id", view.id),
    ):
        if value:
            click.echo(f"  {name:14}{value}")
    for condition in view.conditions:
        click.secho(f"  {condition.reason}: {condition.message}", fg="red")
        click.echo(f"  What to do: {condition.hint}")
