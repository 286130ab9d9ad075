"""nginx as Hosthold's web server: the manifest."""

from hosthold_sdk import Plugin


class WebServerNginx(Plugin):
    """Serves sites with nginx; its driver is found by the entry point `nginx`."""

    title = "nginx"


plugin = WebServerNginx()
