"""Declaring many sites at once."""

from __future__ import annotations

from collections.abc import Sequence

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import FieldError, InvalidInput, Rejected
from hosthold.sites.models import SiteRow
from hosthold.sites.schema import SiteDraft
from hosthold.sites.service import Declaration
from hosthold.types.actor import Actor


def declare_all(uow: UnitOfWork, actor: Actor, drafts: Sequence[SiteDraft]) -> list[SiteRow]:
    """Declare all of the sites, or none.

    Raises `InvalidInput` with every reason for which one of them cannot be; each points at its draft, as
    `/sites/3/domain` does at the domain of the fourth.
    """
    declaration = Declaration(uow, actor, len(drafts))
    rows, errors = [], []
    for index, draft in enumerate(drafts):
        try:
            rows.append(declaration.add(draft))
        except InvalidInput as error:
            errors += [FieldError(f"/sites/{index}{field.pointer}", field.detail) for field in error.errors]
        except Rejected as error:
            errors.append(FieldError(f"/sites/{index}", error.detail))
    if errors:
        bad = len({error.pointer.split("/")[2] for error in errors})
        raise InvalidInput(
            f"No site was made: {bad} of {len(drafts)} cannot be.",
            errors,
            hint="Mend or leave out the sites that the errors point at, and send the others again.",
        )
    declaration.store()
    return rows
