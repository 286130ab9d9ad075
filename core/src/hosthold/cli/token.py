"""`hosthold token`: API tokens, and links that sign somebody in once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from hosthold.auth.service import create_sign_in_link, user_by_email
from hosthold.auth.token import TokenDraft, TokenView, create_token, revoke_token, token_page
from hosthold.cli.context import Context, json_option, pass_context, print_json, print_table
from hosthold.cli.sites import account_named
from hosthold.cli.store import open_database, operator


@click.group()
def token() -> None:
    """API tokens and sign-in links."""


@token.command()
@click.option("--name", required=True, help="What the token is for.")
@click.option("--account", help="The account it acts for, by name or identifier; the provider's if left out.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    default=("*",),
    show_default=True,
    help="Such as site:read; may be repeated.",
)
@click.option("--days", type=click.IntRange(1, 3650), help="How many days it is valid; without end if left out.")
@json_option
@pass_context
def create(
    context: Context, name: str, account: str | None, permissions: tuple[str, ...], days: int | None, *, as_json: bool
) -> None:
    """Make a token. Its secret is printed once and stored nowhere."""
    with open_database(context) as database:
        actor = operator(database)
        with database.write() as uow:
            draft = TokenDraft(
                name=name,
                permissions=permissions,
                account_id=account_named(uow, account) if account else None,
                expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            )
            row, secret = create_token(uow, actor, draft)
    if as_json:
        print_json({**TokenView.of(row).model_dump(mode="json"), "secret": secret})
    else:
        click.echo(secret)


@token.command("list")
@json_option
@pass_context
def list_tokens(context: Context, *, as_json: bool) -> None:
    """List tokens; secrets are never shown again."""
    with open_database(context) as database, database.read() as uow:
        rows, _ = token_page(uow, operator(database), 200, None)
        views = [TokenView.of(row) for row in rows]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    table = [
        (view.name, f"{view.prefix}…", ", ".join(view.permissions), view.expires_at or "never", view.id)
        for view in views
    ]
    print_table(
        ("NAME", "SECRET", "PERMISSIONS", "EXPIRES", "ID"),
        table,
        "No tokens. Make one: hosthold token create --name deploy",
    )


@token.command()
@click.argument("token_id")
@pass_context
def revoke(context: Context, token_id: str) -> None:
    """Make a token useless at once."""
    with open_database(context) as database:
        actor = operator(database)
        with database.write() as uow:
            revoke_token(uow, actor, token_id)
    click.echo("Revoked.")


@token.command("sign-in-link")
@click.argument("email")
@pass_context
def sign_in_link(context: Context, email: str) -> None:
    """Print a link that signs the user with this e-mail address in once, within 15 minutes."""
    with open_database(context) as database, database.write() as uow:
        secret = create_sign_in_link(uow, user_by_email(uow, email).id)
    click.echo(f"{context.settings.public_url}/sign-in/link/{secret}")
