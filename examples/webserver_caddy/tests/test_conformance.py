"""The plugin does what every plugin must, and Caddy what every web server must."""

from hosthold_sdk.testing.conformance import PluginConformance, WebServerConformance
from hosthold_webserver_caddy.driver import CaddyWebServer


class TestCaddy(WebServerConformance):
    driver_class = CaddyWebServer
    unsupported = frozenset({"basic_auth"})


class TestPlugin(PluginConformance):
    plugin_name = "webserver_caddy"
