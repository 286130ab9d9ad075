"""`hosthold worker`: the process that works in the background."""

from __future__ import annotations

import click

from hosthold.cli.context import Context, pass_context
from hosthold.cli.process import set_up_logging, stop_on_signals
from hosthold.cli.store import open_database
from hosthold.drift.jobs import operation_handlers as drift_handlers
from hosthold.garbage import search_seldom
from hosthold.jobs import core_jobs
from hosthold.nodes.jobs import NodeKind
from hosthold.reconcile.loop import Loop
from hosthold.sites.jobs import SiteKind, operation_handlers
from hosthold.work.node_orders import NodeQueueClient
from hosthold.work.operations import Operations
from hosthold.work.schedule import Schedule
from hosthold.work.worker import Worker


@click.command()
@pass_context
def worker(context: Context) -> None:
    """Reconcile sites, deliver events, run jobs."""
    set_up_logging()
    stop = stop_on_signals()
    nodes = NodeQueueClient(context.settings)
    with open_database(context) as database:
        loop = Loop(database, nodes, [NodeKind(context.registry), SiteKind(context.registry)])
        handlers = {**operation_handlers(database, nodes), **drift_handlers(database, nodes)}
        operations = Operations(database, handlers)
        schedule = Schedule(database, context.registry, core_jobs(database, nodes))
        search_seldom()
        Worker(database, context.registry, loop, operations, schedule, context.settings).run(stop)
    nodes.close()
