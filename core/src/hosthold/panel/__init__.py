"""The panel: the design system of all pages, sign-in, and the pages of no noun. A noun's own pages are beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import Route

    from hosthold.web.platform import Platform


def routes(platform: Platform) -> list[Route]:
    """All routes of the panel. The last one answers for every path, so it comes after everything else."""
    from hosthold.panel.routing import (
        make_routes,  # the nouns' pages import this package, so it cannot import them first
    )

    return make_routes(platform)
