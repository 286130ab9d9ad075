"""Who sent a request: an API token in `Authorization`, or the panel's session cookie."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from hosthold.auth.identity import TOKEN_PREFIX, Identity, identify_session, identify_token, secret_hash
from hosthold.auth.service import touch_session
from hosthold.db.unit_of_work import Clock, UnitOfWork
from hosthold.settings import Settings
from hosthold.web.execution import Execution
from hosthold.web.request import Header, Request

CACHE_SECONDS = 2.0
"""How long an answer of the database is believed; a revoked token is refused within this time everywhere."""
_MAX_CACHED = 4096
_TOUCH_MS = 5 * 60 * 1000
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Authenticator:
    """Tells who sent a request. Keeps what it knows for two seconds, by hash; secrets are not kept."""

    def __init__(self, settings: Settings, execution: Execution, clock: Clock) -> None:
        self._execution = execution
        self._clock = clock
        self._known: dict[str, tuple[float, Identity]] = {}
        self._is_secure = settings.public_url.startswith("https:")
        self.cookie_name = "__Host-hosthold_session" if self._is_secure else "hosthold_session"

    async def identify(self, request: Request) -> Identity | None:
        """Who sent the request; nobody if nothing valid was sent. A token goes before a cookie."""
        authorization = request.headers.get(b"authorization")
        if authorization is not None:
            secret = _bearer(authorization)
            return None if secret is None else await self._lookup(secret_hash(secret), identify_token)
        session = self.session_secret(request)
        if session is None:
            return None
        identity = await self._lookup(secret_hash(session), identify_session)
        if identity is not None and identity.seen_at is not None and self._clock() - identity.seen_at > _TOUCH_MS:
            await self._execution.write(lambda uow: touch_session(uow, identity.credential))
            self.forget(identity.credential)
        return identity

    async def is_still_valid(self, identity: Identity) -> Identity | None:
        """Ask the database anew about a caller who stays connected; nobody if the token or session was ended."""
        look = identify_token if identity.csrf_token is None else identify_session
        return await self._execution.read(lambda uow: look(uow, identity.credential))

    def session_secret(self, request: Request) -> str | None:
        """The secret in the session cookie, if one was sent that could be ours."""
        value = request.cookie(self.cookie_name)
        return value if value is not None and _SECRET.fullmatch(value) else None

    def session_cookie(self, secret: str) -> Header:
        """The header that gives a browser its session; without an age it ends with the browser."""
        return b"set-cookie", self._cookie(secret).encode()

    def expired_cookie(self) -> Header:
        """The header that takes the session from a browser."""
        return b"set-cookie", f"{self._cookie('')}; Max-Age=0".encode()

    def forget(self, credential: str) -> None:
        """Stop believing what is known of a credential, because it was just ended."""
        self._known.pop(credential, None)

    def _cookie(self, value: str) -> str:
        return f"{self.cookie_name}={value}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self._is_secure else ''}"

    async def _lookup(self, hashed: str, look: Callable[[UnitOfWork, str], Identity | None]) -> Identity | None:
        now = time.monotonic()
        known = self._known.get(hashed)
        if known is not None and known[0] > now:
            return known[1]
        identity = await self._execution.read(lambda uow: look(uow, hashed))
        if identity is None:
            self._known.pop(hashed, None)
            return None
        if len(self._known) >= _MAX_CACHED:
            self._known.clear()
        self._known[hashed] = (now + CACHE_SECONDS, identity)
        return identity


def _bearer(authorization: bytes) -> str | None:
    scheme, _, secret = authorization.decode("latin-1").partition(" ")
    if (
        scheme.lower() != "bearer"
        or not secret.startswith(TOKEN_PREFIX)
        or not _SECRET.fullmatch(secret[len(TOKEN_PREFIX) :])
    ):
        return None
    return secret
