"""What plugins and drivers must do, as tests: subclass the class of your kind, and name yours in it."""

from hosthold_sdk.testing.conformance.driver import DriverConformance
from hosthold_sdk.testing.conformance.plugin import PluginConformance
from hosthold_sdk.testing.conformance.supervisor import SupervisorConformance
from hosthold_sdk.testing.conformance.supervisor_program import SupervisorProgramConformance

__all__ = ["DriverConformance", "PluginConformance", "SupervisorConformance", "SupervisorProgramConformance"]
