"""`hosthold node`: the process that holds sites."""

from __future__ import annotations

from pathlib import Path

import click
import structlog

from hosthold.cli.context import Context, pass_context
from hosthold.cli.local_node import local_agent
from hosthold.cli.process import set_up_logging, stop_on_signals
from hosthold.garbage import search_seldom
from hosthold.node.nss import ask_few_sources
from hosthold.work.node_orders import NodeQueueServer

log = structlog.get_logger()


@click.command()
@click.option("--end-services", is_flag=True, help="End the web server and all sites with this process.")
@pass_context
def node(context: Context, end_services: bool) -> None:
    """Hold sites on this machine: apply the orders of the worker. Runs as root where each site has its own user.

    Sites go on being served while this process is away, for an upgrade for instance.
    """
    set_up_logging()
    stop = stop_on_signals()
    ask_few_sources(Path(context.settings.node.accounts_directory))
    agent = local_agent(context.settings, context.registry)
    server = NodeQueueServer(context.settings, agent.handle)
    agent.start()
    search_seldom()
    log.info("node started", node=context.settings.node.name, isolation=context.settings.node_isolation)
    try:
        server.run(stop)
    finally:
        agent.stop(end_services=end_services)
    log.info("node stopped")
