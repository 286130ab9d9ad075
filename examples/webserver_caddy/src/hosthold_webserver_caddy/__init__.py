"""Caddy as Hosthold's web server: the manifest."""

from hosthold_sdk import Plugin


class WebServerCaddy(Plugin):
    """Serves sites with Caddy; its driver is found by the entry point `caddy`."""

    title = "Caddy"


plugin = WebServerCaddy()
