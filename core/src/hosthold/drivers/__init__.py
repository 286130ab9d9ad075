"""One abstract class per question "which one does this?". Concrete drivers are found by entry point."""

from hosthold.drivers.runtime import RuntimeDriver
from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.drivers.webserver import WebServerDriver

CLASSES = (RuntimeDriver, SupervisorDriver, WebServerDriver)

__all__ = ["CLASSES", "RuntimeDriver", "SupervisorDriver", "WebServerDriver"]
