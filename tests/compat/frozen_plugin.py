"""A plugin as it was written for the SDK 0.1. It stays as it is: later versions of the platform must run it."""

from collections.abc import Generator, Sequence
from datetime import timedelta

from hosthold_sdk import (
    Command,
    Condition,
    Directory,
    DriverCall,
    Event,
    HealthCheck,
    Job,
    MenuItem,
    Node,
    Page,
    PageContent,
    PageRequest,
    Permission,
    Plugin,
    PluginSettings,
    Rejected,
    Resource,
    Site,
    hookimpl,
)


class FrozenSettings(PluginSettings):
    refused: str = "refused.example.com"


class FrozenPlugin(Plugin):
    title = "Frozen"
    settings_model = FrozenSettings
    told: list[str] = []  # noqa: RUF012

    @hookimpl
    def register_permissions(self) -> Sequence[Permission]:
        return [Permission("frozen:read", "Look")]

    @hookimpl
    def register_pages(self) -> Sequence[Page]:
        return [Page("look", "Look", "frozen:read", lambda request: self.page(request))]

    @hookimpl
    def register_menu_items(self) -> Sequence[MenuItem]:
        return [MenuItem("Look", "look")]

    @hookimpl
    def register_health_checks(self) -> Sequence[HealthCheck]:
        return [HealthCheck("frozen", lambda: None)]

    @hookimpl
    def register_jobs(self) -> Sequence[Job]:
        return [Job("frozen", timedelta(hours=1), lambda: None)]

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        return [Command("say", "Say it", lambda arguments: len(arguments))]

    @hookimpl
    def check_site(self, site: Site) -> None:
        if self.settings.refused in site.domains:
            raise Rejected("It is refused.", hint="Choose another.")

    @hookimpl
    def contribute_site(self, site: Site, node: Node) -> Sequence[Resource]:
        folder = node.layout.site(site.name).child("frozen")
        return [Directory(path=folder, owner=node.root, mode=0o700)]

    @hookimpl
    def on_site_ready(self, site: Site, event: Event) -> None:
        self.told.append(f"ready {site.domains[0]}")

    @hookimpl
    def on_site_failed(self, site: Site, condition: Condition) -> None:
        self.told.append(f"failed {site.domains[0]} {condition.reason}")

    @hookimpl
    def on_site_deleted(self, site: Site) -> None:
        self.told.append(f"deleted {site.domains[0]}")

    @hookimpl(wrapper=True)
    def call_driver(self, call: DriverCall) -> Generator[None, object, object]:
        self.told.append(f"{call.kind} {call.driver} {call.method}")
        return (yield)

    def page(self, request: PageRequest) -> PageContent:
        return PageContent("look.html", {"label": request.actor.label, "query": dict(request.query)})


plugin = FrozenPlugin()
