"""The page that says hello, who may open it, and how people get there."""

from collections.abc import Sequence

from hosthold_sdk import MenuItem, Page, PageContent, PageRequest, Permission, Plugin, hookimpl


def say_hello(request: PageRequest) -> PageContent:
    """Greet whoever `?name=` names, else the visitor."""
    return PageContent("hello.html", {"name": request.query.get("name", request.actor.label)})


class HelloPages(Plugin):
    """Declarations, collected once when the platform starts."""

    @hookimpl
    def register_permissions(self) -> Sequence[Permission]:
        return [Permission("hello_plugin:read", "Open the page that says hello")]

    @hookimpl
    def register_pages(self) -> Sequence[Page]:
        return [Page(path="hello", title="Hello", permission="hello_plugin:read", handler=say_hello)]

    @hookimpl
    def register_menu_items(self) -> Sequence[MenuItem]:
        return [MenuItem(label="Hello", page="hello")]
