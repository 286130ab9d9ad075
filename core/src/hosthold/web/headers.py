"""Headers that every answer has, and the host names to which the platform answers."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from hosthold.settings import Settings
from hosthold.web.request import Header

_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_API_POLICY = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

NO_STORE: Header = (b"cache-control", b"no-store")


class StandingHeaders:
    """The headers of answers that are data, and of those that are pages; computed once."""

    def __init__(self, settings: Settings) -> None:
        common: list[Header] = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        if settings.public_url.startswith("https:"):
            common.append((b"strict-transport-security", b"max-age=31536000"))
        self.page: list[Header] = [*common, (b"content-security-policy", _PAGE_POLICY)]
        self.data: list[Header] = [*common, (b"content-security-policy", _API_POLICY), NO_STORE]


class AllowedHosts:
    """The host of the public address, and loopback under any port: other names are refused (S-45, DNS rebinding)."""

    def __init__(self, settings: Settings) -> None:
        self._public = (urlsplit(settings.public_url).hostname or "").lower()

    def allows(self, host: str) -> bool:
        """Whether a request with this `Host` header is for us."""
        name = host_name(host)
        return name == self._public or is_loopback_name(name)


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port; empty if it cannot be one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_loopback_name(name: str) -> bool:
    """Whether a host name can only mean this machine (RFC 6761, section 6.3)."""
    return name == "localhost" or is_loopback_address(name)


def is_loopback_address(address: str) -> bool:
    """Whether an address can only mean this machine."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
