"""A node for a few orders: recovers, handles them, prints the replies, and ends without stopping anything.

Arguments: the folder of the node, and the files with the orders. strace kills it at a chosen system call.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hosthold.node.agent import NodeAgent
from hosthold.node.policy import Policy
from hosthold.node.supervisor import ProcessSettings, ProcessSupervisor
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.resource import NodeOrder


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
    policy = Policy(
        node=node,
        uid_first=70_000,
        uid_last=79_999,
        executables=frozenset({"/bin/sleep"}),
        accounts_directory=place / "extrausers",
    )
    return NodeAgent(node, policy, ProcessSupervisor(ProcessSettings(stop=2.0)), dict)


if __name__ == "__main__":
    agent = agent_on(Path(sys.argv[1]))
    agent.start()
    for name in sys.argv[2:]:
        sys.stdout.write(agent.handle(NodeOrder.model_validate_json(Path(name).read_bytes())).model_dump_json() + "\n")
    sys.stdout.flush()
    os._exit(0)
