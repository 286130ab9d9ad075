"""How values are written for people: moments, domain names, differences."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

from hosthold.types.text import Domain

_DAY_MS = 24 * 3600 * 1000


def moment_text(milliseconds: int) -> str:
    """A moment as `22 Nov 2026, 21:30 UTC`."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%-d %b %Y, %H:%M} UTC"


def date_text(milliseconds: int) -> str:
    """A moment's day as `22 Nov 2026`, in UTC."""
    return _day_text(milliseconds // _DAY_MS)


def day_text(day: date) -> str:
    """A day as `22 Nov 2026`."""
    return f"{day:%-d %b %Y}"


@lru_cache(maxsize=4096)
def _day_text(day: int) -> str:
    """The text of a day after 1970 began; lists show the same few days again and again."""
    return f"{datetime.fromtimestamp(day * _DAY_MS // 1000, UTC):%-d %b %Y}"


def bytes_text(count: int) -> str:
    """A number of bytes as `820 KiB`, `3.4 MiB` or `12 GiB`."""
    size, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if 0 < size < 10 and unit != "KiB" else f"{size:.0f} {unit}"


@lru_cache(maxsize=4096)
def unicode_form(domain: str) -> str:
    """The Unicode form of an internationalised name; empty if it is written as it is stored (S-64)."""
    if "xn--" not in domain:
        return ""
    written = Domain(domain).unicode
    return "" if written == domain else written


def diff_lines(diff: str) -> list[tuple[str, str, str]]:
    """The lines of a unified diff as (kind, sign, text); the kind is `added`, `removed`, `hunk` or `same`."""
    kinds = {"+": "added", "-": "removed", "@": "hunk"}
    return [
        (kinds.get(line[:1], "same"), line[:1], line[1:])
        if not line.startswith(("@@", "+++", "---"))
        else ("hunk", "", line)
        for line in diff.splitlines()
    ]
