"""What php-fpm is told for recorded sites."""

from hosthold_php_fpm.driver import PhpFpmRuntime
from hosthold_sdk.testing.conformance import GoldenFiles


class TestGolden(GoldenFiles):
    driver_class = PhpFpmRuntime
