"""The list of plugins, and the pages that plugins bring."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from hosthold.errors import HostholdError, NotFound, PluginError
from hosthold.panel.menu import plugin_path
from hosthold.panel.page import SIGNED_IN, Pages, Visit
from hosthold.types.extension import PageContent, PageRequest

PAGES = Pages()


@PAGES.get("/plugins", permission="plugin:read")
def list_plugins(visit: Visit) -> Response:
    """Every installed plugin and driver with its state."""
    return visit.show("plugins.html", records=visit.room.registry.records)


@PAGES.get("/x/{plugin}/{path:path}", permission=SIGNED_IN, is_slow=True)
def plugin_page(visit: Visit) -> Response:
    """A page of a plugin. Who may not open it sees the same as if it did not exist."""
    name, path = visit.parameter("plugin"), visit.parameter("path")
    for plugin, page in visit.room.registry.declarations("register_pages"):
        if (plugin, page.path) == (name, path) and visit.actor.may(page.permission):
            content = _content(name, page.handler, visit)
            values = {"page_title": page.title, "section": plugin_path(plugin, path)}
            return visit.show(f"x/{plugin}/{content.template}", **{**content.context, **values})
    raise NotFound("There is no such page.", hint="The plugin may have been removed.")


def _content(plugin: str, handler: Callable[[PageRequest], PageContent], visit: Visit) -> PageContent:
    try:
        content = handler(PageRequest(actor=visit.actor, query=visit.request.query()))
    except HostholdError:
        raise
    except Exception as error:
        raise PluginError(
            f"The plugin {plugin} failed to make this page: {type(error).__name__}.",
            hint="Tell the operator; the rest of the panel is not touched.",
        ) from error
    return content
