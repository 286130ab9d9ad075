"""Messages: what can be said in one, and what happens to a forged one."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hosthold.errors import QueueError
from hosthold.work.keys import Keyring, make_key
from hosthold.work.serializer import MAX_MESSAGE_BYTES, MacJsonSerializer
from huey.registry import Message
from huey.utils import Error
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW, OTHER = (bytes(range(start, start + 32)) for start in (0, 40, 80))
SERIALIZER = MacJsonSerializer(Keyring({"0000000b": NEW, "0000000a": OLD}))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def signed(key: bytes, key_id: str, body: bytes) -> bytes:
    head = b"1." + key_id.encode()
    return head + b"." + hmac.new(key, head + b"." + body, hashlib.sha256).hexdigest().encode() + b"." + body


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@given(json_values)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    assert SERIALIZER.deserialize(SERIALIZER.serialize(value)) == value


def test_a_huey_message_comes_back_as_it_was() -> None:
    message = Message("id", "hosthold.ring", retries=0, args=(), kwargs={"kind": "site", "key": "1"})
    decoded = SERIALIZER.deserialize(SERIALIZER.serialize(message))
    assert isinstance(decoded, Message)
    assert decoded._replace(args=()) == message


def test_r33_fields_that_a_newer_or_older_version_has_are_tolerated() -> None:
    body = json.dumps({"message": {"id": "1", "name": "hosthold.ring", "args": [], "invented_later": 7}}).encode()
    decoded = SERIALIZER.deserialize(signed(NEW, "0000000b", body))
    assert (decoded.id, decoded.kwargs) == ("1", None)


@pytest.mark.parametrize(
    "value", [object(), b"bytes", {1: "x"}, {"x": {1, 2}}, float("nan"), float("inf"), (1, 2), [Path("/")]]
)
def test_what_json_cannot_say_without_loss_is_refused_by_the_sender(value: Any) -> None:
    with pytest.raises(QueueError, match="cannot be put into a message"):
        SERIALIZER.serialize(value)


def test_s66_an_error_travels_as_a_bare_code() -> None:
    error = Error({"error": "ValueError", "traceback": "password=hunter2", "retries": 0})
    frame = SERIALIZER.serialize(error)
    assert b"hunter2" not in frame
    assert SERIALIZER.deserialize(frame) == Error({"error": "ValueError"})
    assert b"hunter2" not in SERIALIZER.serialize(Error({"error": "ValueError('hunter2')"}))


def test_s06_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(QueueError):
        SERIALIZER.deserialize(pickle.dumps(Bomb(mark)))
    with pytest.raises(QueueError):
        SERIALIZER.deserialize(signed(NEW, "0000000b", pickle.dumps(Bomb(mark))))
    assert not mark.exists()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"....",
        b'{"value":1}',
        b'1.0000000b.{"value":1}',
        b"2." + signed(NEW, "0000000b", b'{"value":1}')[2:],
        signed(OTHER, "0000000b", b'{"value":1}'),
        signed(OTHER, "0000000c", b'{"value":1}'),
        signed(NEW, "0000000a", b'{"value":1}'),
        signed(NEW, "0000000b", b'{"value":1}')[:-1] + b" ",
        signed(NEW, "0000000b", b"[1]"),
        signed(NEW, "0000000b", b'{"message":{"args":[]}}')[:-1],
        signed(NEW, "0000000b", b"{}"),
        signed(NEW, "0000000b", b'{"value":' + b"[" * 100_000),
    ],
)
def test_s06_an_unsigned_forged_or_senseless_message_is_refused(frame: bytes) -> None:
    with pytest.raises(QueueError):
        SERIALIZER.deserialize(frame)


@given(st.binary(max_size=200))
def test_s06_no_bytes_at_all_raise_anything_but_a_refusal(frame: bytes) -> None:
    with pytest.raises(QueueError):
        SERIALIZER.deserialize(frame)


def test_s06_ten_megabytes_are_refused_on_both_sides_even_if_signed() -> None:
    body = b'{"value":"' + b"x" * (10 * 1024 * 1024) + b'"}'
    with pytest.raises(QueueError, match="too long"):
        SERIALIZER.deserialize(signed(NEW, "0000000b", body))
    with pytest.raises(QueueError, match="exceeds"):
        SERIALIZER.serialize("x" * MAX_MESSAGE_BYTES)


def test_messages_signed_with_the_older_key_are_read_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "worker.key"
    make_key(path)
    before = MacJsonSerializer(Keyring.load(path))
    waiting = before.serialize("waiting")
    make_key(path)
    after = MacJsonSerializer(Keyring.load(path))
    assert after.deserialize(waiting) == "waiting"
    with pytest.raises(QueueError):
        before.deserialize(after.serialize("new"))
