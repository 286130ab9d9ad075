"""What every plugin must do, and what every runtime driver must do."""

from hosthold_php_fpm.driver import PhpFpmRuntime
from hosthold_sdk.testing.conformance import PluginConformance, RuntimeConformance


class TestPlugin(PluginConformance):
    plugin_name = "php_fpm"


class TestPhpFpm(RuntimeConformance):
    driver_class = PhpFpmRuntime
