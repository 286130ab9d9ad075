"""What the plugin has to say about sites: it never says goodbye."""

from hosthold_sdk import Plugin, Rejected, Site, hookimpl


class HelloHooks(Plugin):
    """The hook asks for `site` only: of a hook's arguments, take those you need."""

    @hookimpl
    def check_site(self, site: Site) -> None:
        for domain in site.domains:
            if domain.startswith("goodbye."):
                raise Rejected(f"{domain} says goodbye.", hint="Choose a name that says hello.")
