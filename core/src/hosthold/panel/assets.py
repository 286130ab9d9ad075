"""Static files: held in memory, addressed by their content, and so cached by browsers for good."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from hosthold.errors import NotFound
from hosthold.web.request import Request

_COMPRESSED_FROM = 1024
"""Smaller files gain nothing from compression."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `url` changes whenever its content does."""

    url: str
    media_type: str
    content: bytes
    compressed: bytes | None


class Assets:
    """The files below each of `folders`, which are named by the prefix of their address (`""` is the panel's own)."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._by_name = {
            prefix + path.relative_to(folder).as_posix(): _load(path, prefix + path.relative_to(folder).as_posix())
            for prefix, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self._by_url = {asset.url: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """The address of a file; `KeyError` if there is none of that name."""
        return self._by_name[name].url

    def text(self, name: str) -> str:
        """The content of a text file."""
        return self._by_name[name].content.decode()

    def respond(self, request: Request) -> Response:
        """The file at the request's path; only the current content has an address."""
        asset = self._by_url.get(request.path)
        if asset is None:
            raise NotFound("There is no such file.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if asset.compressed is not None and "gzip" in request.text(b"accept-encoding"):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _load(path: Path, name: str) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    compressed = gzip.compress(content, 6, mtime=0) if len(content) >= _COMPRESSED_FROM else None
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset(f"/static/{digest}/{name}", media_type, content, compressed)
