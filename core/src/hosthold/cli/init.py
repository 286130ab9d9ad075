"""`hosthold init`: everything that a new platform needs, made once; running it again adds what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

import click
from sqlalchemy import select

from hosthold.accounts.models import AccountRow
from hosthold.accounts.service import create_provider
from hosthold.auth.models import UserRow
from hosthold.auth.service import canonical_email, create_sign_in_link, create_user, grant_role, set_password
from hosthold.cli.context import Context, pass_context
from hosthold.cli.local_node import free_uid, local_node
from hosthold.db.migrate import upgrade
from hosthold.db.unit_of_work import Database, SilentBell
from hosthold.errors import Misconfigured
from hosthold.nodes.service import register
from hosthold.settings import DEFAULT_FILE, NodeSettings, Settings
from hosthold.types.account import AccountKind
from hosthold.work.keys import key_file, make_key
from hosthold.work.queue import WORKER, node_queue


@click.command()
@click.option("--admin", "email", required=True, help="The administrator's e-mail address.")
@click.option("--name", default="Hosthold", show_default=True, help="The hosting company's name.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="The platform's folder, if there is no settings file yet."
)
@click.option(
    "--password-file",
    type=click.File(),
    help="A file with the administrator's password ('-' reads it from standard input).",
)
@pass_context
def init(context: Context, email: str, name: str, state: Path | None, password_file: TextIO | None) -> None:
    """Set up the platform on this machine and print a link that signs the administrator in once.

    Makes the settings file, keys, database tables, the provider's account, the administrator, and this machine as a
    node; what is there already stays as it is.
    """
    _make_settings_file(context, state)
    settings = context.settings
    _make_state_folder(Path(settings.state))
    for queue in (WORKER, node_queue(settings.node.name)):
        if not key_file(settings, queue).exists():
            make_key(key_file(settings, queue))
    database = Database(settings, context.registry, SilentBell())
    try:
        upgrade(database.engine, context.registry)
        link = _set_up(database, settings, email, name, password_file.read().strip() if password_file else None)
    finally:
        database.close()
    click.echo(f"Ready. Start everything with `hosthold up`, then sign in within 15 minutes at\n{link}")


def _make_settings_file(context: Context, state: Path | None) -> None:
    chosen = context.config or (
        Path(os.environ["HOSTHOLD_CONFIG"]) if "HOSTHOLD_CONFIG" in os.environ else DEFAULT_FILE
    )
    context.config = chosen
    if chosen.exists():
        if state is not None and Path(context.settings.state) != state.absolute():
            raise Misconfigured(
                f"{chosen} names another state folder, {context.settings.state}.",
                hint="Leave --state out, or name another settings file with --config.",
            )
        return
    defaults = NodeSettings()
    folder = state.absolute() if state else Path("/var/lib/hosthold")
    uid_first = free_uid(defaults.accounts_directory, defaults.uid_first)
    chosen.parent.mkdir(parents=True, exist_ok=True)
    chosen.write_text(
        f'# See docs/operations/settings.md for every key.\nstate = "{folder}"\n\n[node]\nuid_first = {uid_first}\n'
    )
    click.echo(f"Wrote {chosen}.")


def _make_state_folder(folder: Path) -> None:
    """Everybody may pass through to what lies below, such as sites; nobody else may list it or read the files in it."""
    os.umask(0o077)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)


def _set_up(database: Database, settings: Settings, email: str, name: str, password: str | None) -> str:
    with database.write() as uow:
        provider = uow.session.scalar(select(AccountRow).where(AccountRow.kind == AccountKind.provider))
        provider = provider or create_provider(uow, name)
        user = uow.session.scalar(select(UserRow).where(UserRow.email == canonical_email(email)))
        if user is None:
            user = create_user(uow, email, None)
            grant_role(uow, user.id, provider.id, "owner")
        if password is not None:
            set_password(uow, user.id, password)
        register(uow, local_node(settings), settings.node.uid_first)
        return f"{settings.public_url}/sign-in/link/{create_sign_in_link(uow, user.id)}"
