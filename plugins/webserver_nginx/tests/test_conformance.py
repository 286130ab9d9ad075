"""The plugin does what every plugin must, and nginx what every web server must."""

from hosthold_sdk.testing.conformance import PluginConformance, WebServerConformance
from hosthold_webserver_nginx.driver import NginxWebServer


class TestNginx(WebServerConformance):
    driver_class = NginxWebServer
    syntax = "nginx"


class TestPlugin(PluginConformance):
    plugin_name = "webserver_nginx"
