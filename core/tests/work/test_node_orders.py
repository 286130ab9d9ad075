"""Orders and replies: who is believed, and what a lost or late message does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hosthold.db.unit_of_work import Database
from hosthold.errors import Interrupted, QueueError, Unavailable
from hosthold.settings import Settings
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import Desired, NodeOrder, OrderAction, OrderReply
from hosthold.work import node_orders
from hosthold.work.keys import Keyring, key_file, make_key
from hosthold.work.node_orders import NodeQueueClient, NodeQueueServer
from hosthold.work.queue import Queue, node_queue, open_queue
from structlog.testing import capture_logs

pytestmark = pytest.mark.usefixtures("quick")


def order(seconds: float = 5, node: str = "local") -> NodeOrder:
    now = datetime.now(UTC)
    return NodeOrder(
        id=new_identifier(),
        node=node,
        action=OrderAction.inspect,
        issued_at=now,
        expires_at=now + timedelta(seconds=seconds),
        desired=(Desired(subject="site:a", label="a", generation=1, fence=1),),
    )


def acknowledge(received: NodeOrder) -> OrderReply:
    """Answer with the fence that was received."""
    return OrderReply(order_id=received.id, facts={"fence": (str(received.desired[0].fence),)})


class Node:
    """Acknowledges every order, and remembers it."""

    def __init__(self) -> None:
        self.handled: list[NodeOrder] = []

    def handle(self, received: NodeOrder) -> OrderReply:
        """Carry out an order."""
        self.handled.append(received)
        return acknowledge(received)


@contextmanager
def serving(settings: Settings, handle: Callable[[NodeOrder], OrderReply]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=NodeQueueServer(settings, handle).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def client(queue_settings: Settings) -> Iterator[NodeQueueClient]:
    opened = NodeQueueClient(queue_settings)
    yield opened
    opened.close()


@pytest.fixture
def raw(queue_settings: Settings) -> Iterator[tuple[Queue, type]]:
    """The node's queue as whoever holds its key can use it, and the type of its task."""
    name = node_queue("local")
    queue = open_queue(queue_settings, name, Keyring.load(key_file(queue_settings, name)))
    yield queue, queue.task(name="order", __module__="hosthold")(lambda **_anything: None).task_class
    queue.storage.close()


def test_an_order_is_carried_out_and_answered(queue_settings: Settings, client: NodeQueueClient) -> None:
    sent = order()
    node = Node()
    with serving(queue_settings, node.handle):
        reply = client.send(sent)
    assert node.handled == [sent]
    assert reply == OrderReply(order_id=sent.id, facts={"fence": ("1",)})


def test_who_is_told_to_give_up_does_not_wait_for_a_node_that_is_away(
    client: NodeQueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_orders, "LAST_WAIT_SECONDS", 0.05)
    told = threading.Timer(0.05, client.give_up)
    told.start()
    with pytest.raises(Interrupted):
        client.send(order(seconds=3600))
    told.join()


def test_replies_find_those_who_wait_for_them(queue_settings: Settings, client: NodeQueueClient) -> None:
    orders = [order() for _ in range(8)]
    replies: dict[str, str] = {}

    def send(it: NodeOrder) -> None:
        replies[it.id] = client.send(it).order_id

    with serving(queue_settings, acknowledge):
        threads = [threading.Thread(target=send, args=(it,)) for it in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == {it.id: it.id for it in orders}


def test_a_node_that_is_away_is_unavailable_and_its_late_answer_confuses_nobody(
    queue_settings: Settings, client: NodeQueueClient
) -> None:
    late = order(seconds=0.2)
    with pytest.raises(Unavailable, match="no answer"):
        client.send(late)
    node = Node()
    with serving(queue_settings, node.handle):
        again = order()
        assert client.send(again).order_id == again.id
    assert node.handled == [late, again]


def test_answers_that_nobody_waited_for_are_dropped_after_a_while(
    queue_settings: Settings, client: NodeQueueClient, raw: tuple[Queue, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable):
        client.send(order(seconds=0.1))
    with serving(queue_settings, acknowledge):
        client.send(order())
    assert raw[0].result_count() == 1
    monkeypatch.setattr(node_orders, "UNREAD_REPLY_MS", 0)
    time.sleep(0.002)
    with pytest.raises(Unavailable):
        client.send(order(seconds=0.1))
    assert raw[0].result_count() == 0


def test_a_node_that_takes_no_orders_is_not_buried_in_them(
    client: NodeQueueClient, raw: tuple[Queue, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_orders, "MAX_WAITING_ORDERS", 2)
    for _ in range(2):
        with pytest.raises(Unavailable, match="no answer"):
            client.send(order(seconds=0.05))
    with pytest.raises(Unavailable, match="does not take its orders"):
        client.send(order())
    assert raw[0].pending_count() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"inspect"', '"run_command"'),
        lambda text: text.replace('"action"', '"command":"id","action"'),
        lambda text: text.replace('"site:a"', '"site:../../etc"'),
        lambda text: text.replace('"fence":1', '"fence":-1'),
        lambda _text: "{}",
        lambda _text: "not json",
        lambda _text: order().model_dump_json(),
    ],
)
def test_s04_a_signed_order_outside_of_the_catalogue_is_refused_with_an_answer(
    queue_settings: Settings, raw: tuple[Queue, type], change: Callable[[str], str]
) -> None:
    queue, task_type = raw
    sent = order()
    node = Node()
    with capture_logs() as logs, serving(queue_settings, node.handle):
        queue.enqueue(task_type((), {"order": change(sent.model_dump_json())}, id=sent.id))
        assert queue.storage.wait_result(sent.id, timeout=5)
    reply = OrderReply.model_validate_json(queue.get(sent.id))
    assert reply.condition is not None
    assert reply.condition.reason == "OrderNotUnderstood"
    assert node.handled == []
    assert [entry["event"] for entry in logs if entry.get("is_security_event")] == ["order refused"]


def test_s06_an_order_signed_with_another_queues_key_does_nothing(
    queue_settings: Settings, client: NodeQueueClient, raw: tuple[Queue, type]
) -> None:
    queue, task_type = raw
    forged = order()
    own = queue.serializer
    queue.serializer = type(own)(Keyring.load(key_file(queue_settings, "worker")))
    queue.enqueue(task_type((), {"order": forged.model_dump_json()}, id=forged.id))
    node = Node()
    with capture_logs() as logs, serving(queue_settings, node.handle):
        client.send(order())
    assert forged not in node.handled
    assert any(entry.get("is_security_event") for entry in logs)


@pytest.mark.parametrize("task_id", ["../../etc/passwd", "x", "A" * 32])
def test_s06_an_order_without_an_identifier_is_dropped_unanswered(
    queue_settings: Settings, client: NodeQueueClient, raw: tuple[Queue, type], task_id: str
) -> None:
    queue, task_type = raw
    queue.enqueue(task_type((), {"order": order().model_dump_json()}, id=task_id))
    with serving(queue_settings, acknowledge):
        client.send(order())
    assert queue.result_count() == 0


def test_s06_a_forged_reply_is_dropped_and_logged(client: NodeQueueClient, raw: tuple[Queue, type]) -> None:
    sent = order()
    raw[0].storage.put_data(sent.id, b"1.00000000.00.{}", is_result=True)
    with capture_logs() as logs, pytest.raises(Unavailable, match="cannot be trusted"):
        client.send(sent)
    assert [entry["event"] for entry in logs if entry.get("is_security_event")] == ["reply refused"]


def test_s06_the_reply_to_another_order_is_dropped(client: NodeQueueClient, raw: tuple[Queue, type]) -> None:
    sent = order()
    raw[0].put_result(sent.id, acknowledge(order()).model_dump_json())
    with pytest.raises(Unavailable, match="cannot be trusted"):
        client.send(sent)


def test_a_crash_of_the_handler_is_answered_and_the_node_goes_on(
    queue_settings: Settings, client: NodeQueueClient
) -> None:
    def crash_once(it: NodeOrder) -> OrderReply:
        if not crashed:
            crashed.append(it)
            raise ZeroDivisionError
        return acknowledge(it)

    crashed: list[NodeOrder] = []
    with serving(queue_settings, crash_once):
        first, second = client.send(order()), client.send(order())
    assert first.condition is not None
    assert (first.condition.reason, second.condition) == ("NodeFailed", None)


def test_an_order_that_no_queue_takes_is_refused_by_the_sender(client: NodeQueueClient) -> None:
    huge = Desired(subject="site:a", label="x" * 9_000_000, generation=1, fence=1)
    with pytest.raises(QueueError, match="exceeds"):
        client.send(order().model_copy(update={"desired": (huge,)}))


def test_a_node_without_a_key_says_what_to_do(queue_settings: Settings, client: NodeQueueClient) -> None:
    make_key(key_file(queue_settings, "worker"))
    with pytest.raises(Exception, match="cannot be opened"):
        client.send(order(node="elsewhere"))


def test_no_order_is_sent_while_a_transaction_is_open(database: Database, client: NodeQueueClient) -> None:
    with database.write(), pytest.raises(RuntimeError, match="inside a transaction"):
        client.send(order())
