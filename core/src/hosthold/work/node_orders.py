"""Orders to nodes and their answers, over a queue whose key only the worker and that node hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from hosthold.errors import HostholdError, Interrupted, QueueError, Unavailable
from hosthold.plugins.calls import refuse_inside_transaction
from hosthold.settings import Settings
from hosthold.types.identifier import Identifier
from hosthold.types.resource import NodeOrder, OrderReply
from hosthold.types.site import Condition
from hosthold.work.keys import Keyring, key_file
from hosthold.work.queue import Queue, node_queue, open_queue

MAX_WAITING_ORDERS = 64
"""A node that leaves as many orders untaken is gone; further ones would only be refused as too old once it is back."""
UNREAD_REPLY_MS = 3_600_000
"""How long an answer that nobody waited for any more is kept."""
LAST_WAIT_SECONDS = 5.0
"""For how long an answer is waited for once the process is told to end."""
_SLICE_SECONDS = 1.0
_PAUSE_AFTER_ERROR = 1.0

log = structlog.get_logger()
_identifier = TypeAdapter(Identifier)


class NodeQueueClient:
    """The worker's way to its nodes. May be used by several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._queues: dict[str, tuple[Queue, Any]] = {}
        self._gives_up = threading.Event()

    def send(self, order: NodeOrder) -> OrderReply:
        """Have the node carry out an order, and wait for its answer for as long as the order may live.

        Raises `Unavailable` if no answer came. The node may carry out the order nevertheless; asking again is safe, for
        orders declare a state, and a late answer is known by the identifier of its order. Raises `Interrupted` if no
        answer came before it was told to give up, or soon after.
        """
        refuse_inside_transaction("an order was sent to a node")
        try:
            return self._exchange(order)
        except HostholdError:
            raise
        except Exception as error:  # every store has exceptions of its own for being away
            log.warning("order not sent", node=order.node, order=order.id, cause=type(error).__name__)
            raise Unavailable(
                f"The queue of the node {order.node} failed; whether the order arrived is unknown.",
                hint="Run `hosthold doctor`.",
            ) from error

    def give_up(self) -> None:
        """Let nobody wait for an answer for more than a few seconds from now on."""
        self._gives_up.set()

    def close(self) -> None:
        """Close all queues."""
        with self._lock:
            while self._queues:
                self._queues.popitem()[1][0].storage.close()

    def _exchange(self, order: NodeOrder) -> OrderReply:
        queue, task_type = self._queue(order.node)
        if queue.pending_count() >= MAX_WAITING_ORDERS:
            raise Unavailable(
                f"The node {order.node} does not take its orders; nothing was asked of it.",
                hint="Start `hosthold node` there, or look at its log.",
            )
        queue.enqueue(task_type((), {"order": order.model_dump_json()}, id=order.id))
        seconds = (order.expires_at - order.issued_at).total_seconds()
        if not self._is_answered(queue, order.id, max(seconds, 0.001)):
            _forget_unread_replies(queue)
            if self._gives_up.is_set():
                raise Interrupted(f"The node {order.node} was not waited for any longer.", hint="It is asked again.")
            raise Unavailable(
                f"The node {order.node} gave no answer in {seconds:.0f} s.",
                hint="It is asked again. If it stays so, look at the log of `hosthold node` there.",
            )
        try:
            reply = OrderReply.model_validate_json(queue.get(order.id) or "")
        except (QueueError, ValidationError):
            reply = None
        if reply is None or reply.order_id != order.id:
            log.warning("reply refused", node=order.node, order=order.id, is_security_event=True)
            raise Unavailable(
                f"The answer of the node {order.node} cannot be trusted; it was dropped.",
                hint="Check who else can reach the node's queue, and that both hold its newest key.",
            )
        return reply

    def _is_answered(self, queue: Queue, order_id: str, seconds: float) -> bool:
        deadline, last = time.monotonic() + seconds, False
        while not last:
            is_leaving = self._gives_up.is_set()
            remaining = max(deadline - time.monotonic(), 0.001)
            wait = min(remaining, LAST_WAIT_SECONDS if is_leaving else _SLICE_SECONDS)
            last = is_leaving or wait == remaining
            if queue.storage.wait_result(order_id, timeout=wait):
                return True
        return False

    def _queue(self, node: str) -> tuple[Queue, Any]:
        with self._lock:
            if node not in self._queues:
                self._queues[node] = _open(self._settings, node)
            return self._queues[node]


class NodeQueueServer:
    """The node's end: takes orders one at a time, and answers each that bears the right signature.

    The queue is opened once orders are taken, so that a node serves its sites although the queue is away (R-31).
    """

    def __init__(self, settings: Settings, handle: Callable[[NodeOrder], OrderReply]) -> None:
        self._settings = settings
        self._handle = handle
        Keyring.load(key_file(settings, node_queue(settings.node.name)))

    def run(self, stop: threading.Event) -> None:
        """Take orders until `stop` is set; what is being handled then is brought to its end. Nothing is raised."""
        queue: Queue | None = None
        while not stop.is_set():
            try:
                if queue is None:
                    queue, _ = _open(self._settings, self._settings.node.name)
                task = queue.dequeue()
                if task is not None:
                    self._answer(queue, task)
            except Exception as error:  # every store has exceptions of its own for being away
                log.error("queue does not work", node=self._settings.node.name, cause=type(error).__name__)
                stop.wait(_PAUSE_AFTER_ERROR)
        if queue is not None:
            queue.storage.close()

    def _answer(self, queue: Queue, task: Any) -> None:
        try:
            order_id = _identifier.validate_python(task.id)
        except ValidationError:
            log.warning("order refused", is_security_event=True, cause="it has no identifier")
            return
        try:
            order = NodeOrder.model_validate_json(task.kwargs["order"])
            if order.id != order_id:
                raise ValueError("its identifier differs from the message's")
        except (KeyError, TypeError, ValueError) as error:
            fields = error.errors(include_input=False) if isinstance(error, ValidationError) else []
            log.warning(
                "order refused",
                order=order_id,
                is_security_event=True,
                cause=type(error).__name__,
                fields=[".".join(map(str, field["loc"])) for field in fields[:10]],
            )
            reply = _refusal(
                order_id,
                "OrderNotUnderstood",
                "The node cannot read this order, and did nothing.",
                "Run the same version of Hosthold on the node and on the platform.",
            )
        else:
            reply = self._handled(order)
        queue.put_result(order_id, reply.model_dump_json())

    def _handled(self, order: NodeOrder) -> OrderReply:
        try:
            return self._handle(order)
        except Exception as error:
            log.exception("order failed", order=order.id, action=order.action)
            return _refusal(
                order.id,
                "NodeFailed",
                f"The node was stopped by an unexpected {type(error).__name__}.",
                "The log of `hosthold node` has the details. It is tried again by itself.",
            )


def _refusal(order_id: str, reason: str, message: str, hint: str) -> OrderReply:
    return OrderReply(order_id=order_id, condition=Condition(reason=reason, message=message, hint=hint))


def _open(settings: Settings, node: str) -> tuple[Queue, Any]:
    """The queue of a node and the type of its one task, which is taken from the queue and never run by it."""
    name = node_queue(node)
    queue = open_queue(settings, name, Keyring.load(key_file(settings, name)))
    return queue, queue.task(name="order", __module__="hosthold")(_order).task_class


def _order(order: str) -> str:
    """Name the argument of an order's message: a `NodeOrder` as JSON."""
    return order


def _forget_unread_replies(queue: Queue) -> None:
    """Drop answers that came too late for whoever asked. The identifier of an order tells when it was made."""
    oldest = (time.time_ns() // 1_000_000 - UNREAD_REPLY_MS) << 80
    for key in queue.storage.result_items():
        if int(key, 16) < oldest:
            queue.delete(key)
