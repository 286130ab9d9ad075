"""API tokens over HTTP."""

from __future__ import annotations

from hosthold.auth import token
from hosthold.auth.token import NewTokenView, TokenDraft, TokenView
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.actor import Actor
from hosthold.types.identifier import Identifier
from hosthold.web.operation import operation
from hosthold.web.paging import Page, PageRequest


@operation("GET", "/tokens", permission="token:read")
def list_tokens(page: PageRequest, actor: Actor, uow: UnitOfWork) -> Page[TokenView]:
    """List the API tokens of one's account, newest first; never their secrets."""
    rows, next_key = token.token_page(uow, actor, page.limit, page.cursor)
    return Page([TokenView.of(row) for row in rows], next_key)


@operation("POST", "/tokens", permission="token:create", status=201)
def create_token(body: TokenDraft, actor: Actor, uow: UnitOfWork) -> NewTokenView:
    """Make an API token. Its secret is in this answer and nowhere else; a repeated request shows null instead."""
    row, secret = token.create_token(uow, actor, body)
    return NewTokenView(**TokenView.of(row).model_dump(), secret=secret)


@operation("DELETE", "/tokens/{token_id}", permission="token:delete", status=204)
def revoke_token(token_id: Identifier, actor: Actor, uow: UnitOfWork) -> None:
    """Revoke an API token; it is refused everywhere within seconds."""
    token.revoke_token(uow, actor, token_id)
