"""What can be done to a site with one confirmation: the words that ask, and the service that acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.reconcile.loop import DRIFTED
from hosthold.sites import service
from hosthold.sites.models import SiteRow
from hosthold.sites.planning import request_repair, request_restart
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.site import Phase


class Action(NamedTuple):
    """One action; `word` names the message that is shown afterwards.

    A dangerous one wants the domain typed, and leads away from the site.
    """

    name: str
    permission: str
    icon: str
    label: str
    title: str
    summary: str
    question: str
    explanation: str
    word: str
    is_dangerous: bool
    act: Callable[[UnitOfWork, Actor, str], object]
    is_offered: Callable[[SiteRow], bool]


def _restart(uow: UnitOfWork, actor: Actor, site_id: str) -> object:
    return request_restart(uow, actor, site_id, new_identifier())


def _delete(uow: UnitOfWork, actor: Actor, site_id: str) -> object:
    return service.delete(uow, actor, site_id, None)


def _repair(uow: UnitOfWork, actor: Actor, site_id: str) -> object:
    return request_repair(uow, actor, site_id, new_identifier())


ACTIONS = (
    Action(
        name="repair", permission="site:update", icon="refresh", label="Overwrite",
        title="Overwrite what was changed by hand",
        summary="Compare first: what somebody changed on the node is lost, and the site is as declared again.",
        question="Overwrite what was changed by hand?",
        explanation="its configuration on the node becomes what is declared. The files of the site are not touched.",
        word="site-repairing", is_dangerous=False, act=_repair,
        is_offered=lambda row: any(condition["reason"] == DRIFTED for condition in row.conditions),
    ),
    Action(
        name="restart", permission="site:restart", icon="refresh", label="Restart", title="Restart the processes",
        summary="For an application that hangs. Visitors who load a page right now may have to reload it.",
        question="Restart the processes?",
        explanation="its processes end, and start anew with the next visitor.",
        word="site-restarting", is_dangerous=False, act=_restart,
        is_offered=lambda row: row.phase == Phase.ready and not row.is_suspended,
    ),
    Action(
        name="suspend", permission="site:suspend", icon="player-pause", label="Suspend", title="Suspend the site",
        summary="Visitors see a notice instead of the site. Files and settings stay as they are.",
        question="Suspend the site?",
        explanation="visitors see a notice until you resume it. Nothing of it is lost.",
        word="site-suspended", is_dangerous=False, act=service.suspend, is_offered=lambda row: not row.is_suspended,
    ),
    Action(
        name="resume", permission="site:suspend", icon="player-play", label="Resume", title="Resume the site",
        summary="Show the site to its visitors again.",
        question="Resume the site?", explanation="visitors see it again in a few moments.",
        word="site-resumed", is_dangerous=False, act=service.resume, is_offered=lambda row: row.is_suspended,
    ),
    Action(
        name="delete", permission="site:delete", icon="trash", label="Delete", title="Delete the site",
        summary="Its files, its settings and its Unix user go for good. This cannot be undone.",
        question="Delete the site for good?",
        explanation="its files, its settings and its Unix user are removed. This cannot be undone.",
        word="site-deleting", is_dangerous=True, act=_delete, is_offered=lambda _row: True,
    ),
)  # fmt: skip


def offered(row: SiteRow, actor: Actor) -> list[Action]:
    """What this actor can do to this site now."""
    if row.deleting:
        return []
    return [action for action in ACTIONS if actor.may(action.permission) and action.is_offered(row)]
