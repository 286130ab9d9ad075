"""Messages as signed JSON. Nothing that is read from a queue can run code, and nothing unsigned is even parsed."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from typing import Any

from huey.registry import Message
from huey.serializer import Serializer
from huey.utils import Error

from hosthold.errors import QueueError
from hosthold.work.keys import Keyring

VERSION = b"1"
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_ERROR_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")


class MacJsonSerializer(Serializer):  # type: ignore[misc]  # huey ships no types
    """Frames a message as `1.<key id>.<hmac-sha256>.<json>`; the MAC covers the version and the key id too.

    Encodes plain JSON values, Huey's `Message`, and Huey's `Error` as a bare code: tracebacks stay where they arose.
    """

    def __init__(self, keyring: Keyring) -> None:
        super().__init__(compression=False)
        self._keyring = keyring

    def _serialize(self, data: Any) -> bytes:
        body = json.dumps(_encode(data), allow_nan=False, separators=(",", ":")).encode()
        key_id, key = self._keyring.signing_key
        head = VERSION + b"." + key_id.encode()
        frame = b".".join((head, _mac(key, head, body), body))
        if len(frame) > MAX_MESSAGE_BYTES:
            raise QueueError(
                f"A message of {len(frame)} bytes exceeds the {MAX_MESSAGE_BYTES} that a queue takes.",
                hint="Send the work in smaller parts.",
            )
        return frame

    def _deserialize(self, data: bytes) -> Any:
        frame = bytes(data)
        if len(frame) > MAX_MESSAGE_BYTES:
            raise QueueError(f"A message of {len(frame)} bytes is too long; it was dropped unread.")
        parts = frame.split(b".", 3)
        if len(parts) != 4 or parts[0] != VERSION:
            raise QueueError("A message has no frame of a known version; it was dropped unread.")
        version, key_id, mac, body = parts
        key = self._keyring.key(key_id.decode("ascii", "replace"))
        if key is None:
            raise QueueError("A message names a key that is not in the keyring; it was dropped unread.")
        if not hmac.compare_digest(mac, _mac(key, version + b"." + key_id, body)):
            raise QueueError("A message bears a wrong signature; it was dropped unread.")
        try:
            return _decode(json.loads(body))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise QueueError("A signed message has not the form that this version reads; it was dropped.") from None


def _mac(key: bytes, head: bytes, body: bytes) -> bytes:
    return hmac.new(key, head + b"." + body, hashlib.sha256).hexdigest().encode()


def _encode(data: Any) -> dict[str, Any]:
    if isinstance(data, Message):
        fields = {name: value for name, value in data._asdict().items() if value is not None}
        return {"message": _plain({**fields, "args": list(data.args or ())})}
    if isinstance(data, Error):
        code = str((data.metadata or {}).get("error", ""))
        return {"error": code if _ERROR_CODE.fullmatch(code) else "Error"}
    return {"value": _plain(data)}


def _decode(document: dict[str, Any]) -> Any:
    if "message" in document:
        fields = document["message"]
        return Message(**{name: fields[name] for name in Message._fields if name in fields})
    if "error" in document:
        return Error({"error": document["error"]})
    return document["value"]


def _plain(value: Any) -> Any:
    """The value itself if JSON can say it without loss; anything else is a mistake of the sender."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list():
            return [_plain(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _plain(item) for key, item in value.items()}
    raise QueueError(f"A {type(value).__name__} cannot be put into a message.")
