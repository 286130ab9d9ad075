"""The plugin does what every plugin must."""

from hosthold_sdk.testing.conformance import PluginConformance


class TestPlugin(PluginConformance):
    plugin_name = "php_fpm"
