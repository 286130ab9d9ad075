"""What plugins and drivers must do, as tests: subclass the class of your kind, and name yours in it."""

import pytest

_KITS = ("driver", "golden", "nginx_syntax", "plugin", "rendering", "runtime", "supervisor", "supervisor_program")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in (*_KITS, "webserver")))

from hosthold_sdk.testing.conformance.driver import DriverConformance  # noqa: E402 - only now, see above
from hosthold_sdk.testing.conformance.golden import GoldenFiles  # noqa: E402
from hosthold_sdk.testing.conformance.plugin import PluginConformance  # noqa: E402
from hosthold_sdk.testing.conformance.runtime import RuntimeConformance  # noqa: E402
from hosthold_sdk.testing.conformance.supervisor import SupervisorConformance  # noqa: E402
from hosthold_sdk.testing.conformance.supervisor_program import SupervisorProgramConformance  # noqa: E402
from hosthold_sdk.testing.conformance.webserver import WebServerConformance  # noqa: E402

__all__ = [
    "DriverConformance",
    "GoldenFiles",
    "PluginConformance",
    "RuntimeConformance",
    "SupervisorConformance",
    "SupervisorProgramConformance",
    "WebServerConformance",
]
