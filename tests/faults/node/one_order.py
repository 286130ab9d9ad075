"""Nodes that each handle a few orders in a process of their own, and end without stopping what they started.

Reads lines `run|hold PLACE ORDER...` with the node's folder and files of orders; for each it prints the number of the
process and then its exit status. The replies go to PLACE/replies.json. `hold` stops the process before it begins, so
that strace can take hold of it.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

from hosthold.node.agent import NodeAgent
from hosthold.node.policy import Policy
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.resource import Directory, NodeOrder


def agent_on(place: Path) -> NodeAgent:
    """A node whose every part lies below one folder."""
    isolation = Isolation.unix_user if os.geteuid() == 0 else Isolation.none
    root = Owner(uid=os.geteuid(), gid=os.getegid())
    node = Node(
        name="n1",
        layout=NodeLayout(state=str(place / "state"), run=str(place / "run")),
        listen=Listen(),
        isolation=isolation,
        root=root,
        web=root,
        web_user="root",
    )
    folders = (node.layout.sites, node.layout.hosts, node.layout.sockets)
    own = [Directory(path=path, owner=root, mode=0o755) for path in folders]
    policy = Policy(
        node=node,
        uid_first=75_000,
        uid_last=79_999,
        executables=frozenset({"/bin/sleep"}),
        own={folder.key: folder for folder in own},
        accounts_directory=place / "extrausers",
    )
    return NodeAgent(node, policy, ProcessSupervisor(ProcessSettings(stop=2.0)), dict)


def handle(place: Path, orders: list[str]) -> None:
    """Recover, handle the orders, and write the replies, one a line."""
    agent = agent_on(place)
    agent.start()
    replies = [agent.handle(NodeOrder.model_validate_json(Path(order).read_bytes())) for order in orders]
    place.joinpath("replies.json").write_text("".join(f"{reply.model_dump_json()}\n" for reply in replies))


def serve() -> None:
    """One process for each line; this one stays single-threaded, so that it may fork."""
    for line in sys.stdin:
        mode, place, *orders = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                if mode == "hold":
                    os.kill(os.getpid(), signal.SIGSTOP)
                handle(Path(place), orders)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
